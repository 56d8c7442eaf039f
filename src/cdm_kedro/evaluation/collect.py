"""One pass over a set of images at bounded memory: it keeps all that the metrics need of their features."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.features import features_of
from cdm_kedro.evaluation.metrics import InceptionScore, split_numbers
from cdm_kedro.evaluation.sources import Source
from cdm_kedro.evaluation.statistics import Moments, MomentsAccumulator
from cdm_kedro.params.evaluation import EvaluateParams

MINIMUM = 4
"""With fewer images precision, recall (k = 3) and the kernel distance do not exist."""

QUARTERS = 4
"""The spread of the Fréchet distances of so many parts is the uncertainty of the whole's."""

_SMALLEST_SPLIT = 10  # images; the Inception score of a single image is always 1


@dataclass(frozen=True)
class Reference:
    """Statistics of images that others are compared with.

    ``features``: (K, D) float32 features of a seeded random subset; None in files of other evaluators. ``indices``:
    (K,) places of that subset in the source; None in files of other evaluators.
    """

    moments: Moments
    features: NDArray[np.float32] | None
    indices: NDArray[np.int64] | None


@dataclass(frozen=True)
class Summary(Reference):
    """What one pass keeps of a set of images: a reference and what the metrics need besides.

    Attributes:
        features: (K, D) float32 of at most ``kept_features`` images.
        indices: (K,) their places in the source.
        quarters: moments of four seeded random parts; empty if one of them has fewer than two images.
        inception_score: mean and standard deviation over splits; None if the network gives no logits.
        splits: number of splits, fewer than asked for if a split would have fewer than ten images.
    """

    features: NDArray[np.float32]
    indices: NDArray[np.int64]
    n: int
    quarters: tuple[Moments, ...]
    inception_score: tuple[float, float] | None
    splits: int


class Collector:
    """Takes the features of a set of known size, in any order of batches.

    The seed, the size of the set and an image's index alone decide to which split, quarter and subset it belongs.
    """

    def __init__(self, count: int, params: EvaluateParams) -> None:
        self.quarter = split_numbers(count, QUARTERS, params.seed)
        self.splits = max(1, min(params.splits, count // _SMALLEST_SPLIT))
        self.split = split_numbers(count, self.splits, params.seed + 1)
        self.kept = np.zeros(count, bool)
        self.kept[np.random.default_rng([params.seed, 2]).permutation(count)[: params.kept_features]] = True
        self.moments = [MomentsAccumulator() for _ in range(QUARTERS)]
        self.inception_score = InceptionScore(self.splits)
        self.has_logits = True
        self.rows: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    def add(self, first: int, features: NDArray[np.float32], logits: NDArray[np.float32] | None) -> None:
        """Add the images ``first`` .. ``first + len(features) - 1``.

        Raises CdmError if the features hold NaN or infinity.
        """
        span = slice(first, first + len(features))
        for number, accumulator in enumerate(self.moments):
            accumulator.add(features[self.quarter[span] == number])
        if logits is None:
            self.has_logits = False
        else:
            self.inception_score.add(logits, self.split[span])
        chosen = np.flatnonzero(self.kept[span])
        if len(chosen):
            self.rows.append((first + chosen, features[chosen]))

    def summary(self) -> Summary:
        """The result. Raises CdmError if there are fewer than two images."""
        whole = MomentsAccumulator()
        for part in self.moments:
            whole.merge(part)
        rows = sorted(self.rows, key=lambda pair: pair[0][0])
        return Summary(
            moments=whole.moments(),
            features=np.concatenate([features for _, features in rows]),
            indices=np.concatenate([indices for indices, _ in rows]),
            n=whole.n,
            quarters=tuple(a.moments() for a in self.moments) if all(a.n >= 2 for a in self.moments) else (),
            inception_score=self.inception_score.result() if self.has_logits else None,
            splits=self.splits,
        )


def collect(
    source: Source,
    extractor: Extractor,
    params: EvaluateParams,
    description: str,
    all_features: Path | None = None,
) -> Summary:
    """Compute the features of a source's images once, with a progress bar.

    Raises CdmError if there are fewer than ``MINIMUM`` images, or some cannot be read. Raises CdmError if
    features are not finite. ``params``: limits, splits, seed and devices. Several devices and nodes give the same
    result as one. ``all_features``: npy (N, D) float16 to write with the features of all images.
    """
    count = min(source.count, params.max_images or source.count)
    if count < MINIMUM:
        raise CdmError(f"{source.path}: {count} image(s) are too few to score; at least {MINIMUM} are needed")
    spans = [range(start, min(count, start + params.batch_size)) for start in range(0, count, params.batch_size)]
    collector = Collector(count, params)
    rows = np.lib.format.open_memmap(all_features, "w+", np.float16, (count, extractor.dim)) if all_features else None
    for first, features, logits in features_of(source, extractor, spans, params.devices, description):
        collector.add(first, features, logits)
        if rows is not None:
            rows[first : first + len(features)] = features
            rows.flush()
    return collector.summary()
