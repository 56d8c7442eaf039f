"""One pass over a set of images at bounded memory: it keeps all that the metrics need of their features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.features import Batch, features_of
from cdm_kedro.evaluation.metrics import InceptionScore, split_numbers
from cdm_kedro.evaluation.sources import Source
from cdm_kedro.evaluation.statistics import Moments, MomentsAccumulator
from cdm_kedro.params.evaluation import EvaluateParams

MINIMUM = 4  # with fewer images precision, recall (k = 3) and the kernel distance do not exist

QUARTERS = 4  # the spread of the Fréchet distances of so many parts is the uncertainty of the whole's

_SMALLEST_SPLIT = 10  # images; the Inception score of a single image is always 1


@dataclass(frozen=True)
class Reference:
    """Statistics of images that others are compared with; files of other evaluators hold moments alone."""

    moments: Moments
    features: NDArray[np.float32] | None  # (K, D) of a seeded random subset
    indices: NDArray[np.int64] | None  # (K,) places of that subset in the source


@dataclass(frozen=True)
class Summary(Reference):
    """What one pass keeps of a set of images: a reference and what the metrics need besides."""

    features: NDArray[np.float32]  # of at most ``kept_features`` images
    indices: NDArray[np.int64]
    n: int
    quarters: tuple[Moments, ...]  # of four seeded random parts; empty if one of them has fewer than two images
    inception_score: tuple[float, float] | None  # mean and deviation over splits; None if the network gives no logits
    splits: int  # fewer than asked for if a split would have fewer than ten images


def summarize(count: int, params: EvaluateParams, batches: Iterable[Batch]) -> Summary:
    """Take in the features of a set of ``count`` images, in any order of batches.

    The seed, the size of the set and an image's index alone decide to which split, quarter and subset it belongs.
    Raises CdmError if the features hold NaN or infinity, or there are fewer than two images.
    """
    splits = max(1, min(params.splits, count // _SMALLEST_SPLIT))
    quarter, split = split_numbers(count, QUARTERS, params.seed), split_numbers(count, splits, params.seed + 1)
    kept = np.zeros(count, bool)
    kept[np.random.default_rng([params.seed, 2]).permutation(count)[: params.kept_features]] = True
    quarters, inception_score = [MomentsAccumulator() for _ in range(QUARTERS)], InceptionScore(splits)
    rows: dict[int, NDArray[np.float32]] = {}
    for first, features, logits in batches:
        span = slice(first, first + len(features))
        for number, part in enumerate(quarters):
            part.add(features[quarter[span] == number])
        if logits is not None:
            inception_score.add(logits, split[span])
        rows[first] = features[kept[span]]
    whole = MomentsAccumulator()
    for part in quarters:
        whole.merge(part)
    return Summary(
        moments=whole.moments(),
        features=np.concatenate([rows[first] for first in sorted(rows)]),
        indices=np.flatnonzero(kept),
        n=whole.n,
        quarters=tuple(part.moments() for part in quarters) if all(part.n >= 2 for part in quarters) else (),
        inception_score=None if inception_score.marginal is None else inception_score.result(),
        splits=splits,
    )


def collect(
    source: Source,
    extractor: Extractor,
    params: EvaluateParams,
    description: str,
    all_features: Path | None = None,
) -> Summary:
    """Compute the features of a source's images once, with a progress bar.

    Raises CdmError if there are fewer than ``MINIMUM`` images, some cannot be read, or features are not finite.
    ``params``: limits, splits, seed and devices. Several devices and nodes give the same result as one.
    ``all_features``: npy (N, D) float16 to write with the features of all images.
    """
    count = min(source.count, params.max_images or source.count)
    if count < MINIMUM:
        raise CdmError(f"{source.path}: {count} image(s) are too few to score; at least {MINIMUM} are needed")
    spans = [range(start, min(count, start + params.batch_size)) for start in range(0, count, params.batch_size)]
    rows = np.lib.format.open_memmap(all_features, "w+", np.float16, (count, extractor.dim)) if all_features else None

    def batches() -> Iterator[Batch]:
        for first, features, logits in features_of(source, extractor, spans, params.devices, description):
            if rows is not None:
                rows[first : first + len(features)] = features
                rows.flush()
            yield first, features, logits

    return summarize(count, params, batches())
