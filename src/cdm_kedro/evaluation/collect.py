"""One pass over a set of images at bounded memory: it keeps all that the metrics need of their features."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.metrics import InceptionScore, split_numbers
from cdm_kedro.evaluation.sources import Images, Source
from cdm_kedro.evaluation.statistics import Moments, MomentsAccumulator
from cdm_kedro.params.evaluation import EvaluateParams

MINIMUM = 4
"""With fewer images precision, recall (k = 3) and the kernel distance do not exist."""

QUARTERS = 4
"""The spread of the Fréchet distances of so many parts is the uncertainty of the whole's."""

_SMALLEST_SPLIT = 10  # images; the Inception score of a single image is always 1

OnFeatures = Callable[[int, NDArray[np.float32]], None]


@dataclass(frozen=True)
class Reference:
    """Statistics of images that others are compared with.

    Attributes:
        moments: mean and covariance of all features.
        features: (K, D) float32 features of a seeded random subset; None in files of other evaluators.
        indices: (K,) places of that subset in the source; None in files of other evaluators.
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
        n: number of images.
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
    """Takes the features of a set of known size, in any order of batches and in any number of processes.

    The seed, the size of the set and an image's index alone decide to which split, quarter and subset it belongs.

    Args:
        count: number of images of the whole set.
        params: ``seed``, ``splits`` and ``kept_features`` are used.
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

        Raises:
            ValueError: The features hold NaN or infinity.
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

    def merge(self, other: Collector) -> None:
        """Add what the collector of another process has seen."""
        for mine, theirs in zip(self.moments, other.moments, strict=True):
            mine.merge(theirs)
        self.inception_score.merge(other.inception_score)
        self.has_logits = self.has_logits and other.has_logits
        self.rows += other.rows

    def summary(self) -> Summary:
        """The result.

        Raises:
            ValueError: There are fewer than two images.
        """
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


def images_used(source: Source, params: EvaluateParams) -> int:
    """How many images of a source are looked at."""
    return min(source.count, params.max_images or source.count)


def collect(
    source: Source,
    extractor: Extractor,
    params: EvaluateParams,
    description: str,
    on_features: OnFeatures | None = None,
) -> Summary:
    """Compute the features of a source's images once, with a progress bar.

    Args:
        source: where the images come from.
        extractor: network that makes the features.
        params: limits, splits, seed and devices. Several devices give the same result as one, up to rounding.
        description: text of the progress bar.
        on_features: called with (first index, (B, D) features) of every batch; one process then does all the work.

    Raises:
        ValueError: There are fewer than ``MINIMUM`` images, or some cannot be read, or features are not finite.
    """
    count = images_used(source, params)
    if count < MINIMUM:
        raise ValueError(f"{source.path}: {count} image(s) are too few to score; at least {MINIMUM} are needed")
    spans = [range(start, min(count, start + params.batch_size)) for start in range(0, count, params.batch_size)]
    devices = params.devices if isinstance(params.devices, int) else max(1, torch.cuda.device_count())
    processes = min(devices, len(spans))
    if processes == 1 or on_features is not None or extractor.remake is None:
        whole = _Share(source, Collector(count, params), spans, description)
        return whole.collect(extractor, on_features).summary()
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        shares = [
            _Share(source, Collector(count, params), spans[i::processes], f"{description} ({i})")
            for i in range(processes)
        ]
        first, *others = pool.map(_collect_elsewhere, shares, repeat(extractor.remake), range(processes))
    for other in others:
        first.merge(other)
    return first.summary()


@dataclass
class _Share:
    """What one process has to do."""

    source: Source
    collector: Collector
    spans: Sequence[range]
    description: str

    def collect(self, extractor: Extractor, on_features: OnFeatures | None = None) -> Collector:
        from tqdm import tqdm

        with tqdm(total=sum(map(len, self.spans)), desc=self.description, unit="img") as bar:
            for first, images in _read_ahead(self.source, self.spans):
                features, logits = extractor(images)
                self.collector.add(first, features, logits)
                if on_features is not None:
                    on_features(first, features)
                bar.update(len(images))
        return self.collector


def _collect_elsewhere(share: _Share, remake: Callable[[torch.device], Extractor], number: int) -> Collector:
    """The work of a process of its own; the GPUs take turns."""
    gpus = torch.cuda.device_count()
    return share.collect(remake(torch.device("cuda", number % gpus) if gpus else torch.device("cpu")))


def _read_ahead(source: Source, spans: Sequence[range]) -> Iterator[tuple[int, Images]]:
    """Batches with their first index; a thread reads the next one while the current one is worked on."""
    with ThreadPoolExecutor(1, "read-images") as pool:
        waiting = [pool.submit(source.read, span) for span in spans[:1]]
        for number, span in enumerate(spans):
            images = waiting.pop().result()
            if number + 1 < len(spans):
                waiting.append(pool.submit(source.read, spans[number + 1]))
            yield span.start, images
