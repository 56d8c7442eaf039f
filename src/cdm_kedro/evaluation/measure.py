"""Everything that scores need of a set of images, in one pass over it at bounded memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.metrics import ClassScore, split_numbers
from cdm_kedro.evaluation.sources import Images, Source
from cdm_kedro.evaluation.statistics import Moments, MomentsAccumulator
from cdm_kedro.params.evaluation import EvaluateParams

MINIMUM = 4
"""Images below which precision and recall (k = 3) and the kernel distance do not exist."""

QUARTERS = 4
"""Parts whose Fréchet distances' spread is the uncertainty of the whole's."""

_LEAST_SPLIT = 10  # images; the class score of a single image is always 1

Row = Callable[[int, NDArray[np.float32]], None]


@dataclass(frozen=True)
class Summary:
    """What is kept of a set of images.

    Attributes:
        n: images.
        moments: of all features.
        quarters: of four seeded random parts, where each has at least two images; else none.
        features: (K, D) float32 of a seeded random subset, all of them where there are at most ``kept_features``.
        indices: (K,) their places in the source.
        class_score: mean and standard deviation of the Inception-style score over splits; None without logits.
        splits: how many: fewer than asked for where a split would have fewer than ten images.
    """

    n: int
    moments: Moments
    quarters: tuple[Moments, ...]
    features: NDArray[np.float32]
    indices: NDArray[np.int64]
    class_score: tuple[float, float] | None
    splits: int


class Collector:
    """Takes the features of a set of known size in any order of batches and in any number of processes.

    Which split, quarter and subset an image falls into depends on (seed, count, its index) alone.

    Args:
        count: images of the whole set.
        params: seed, splits and ``kept_features``.
    """

    def __init__(self, count: int, params: EvaluateParams) -> None:
        self.count = count
        self.quarter = split_numbers(count, QUARTERS, params.seed)
        self.splits = max(1, min(params.splits, count // _LEAST_SPLIT))
        self.split = split_numbers(count, self.splits, params.seed + 1)
        kept = np.random.default_rng([params.seed, 2]).permutation(count)[: params.kept_features]
        self.kept = np.zeros(count, bool)
        self.kept[kept] = True
        self.moments = [MomentsAccumulator() for _ in range(QUARTERS)]
        self.classes = ClassScore(self.splits)
        self.has_logits = True
        self.rows: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    def add(self, first: int, features: NDArray[np.float32], logits: NDArray[np.float32] | None) -> None:
        """Add the images ``first`` .. ``first + len(features) - 1``.

        Raises:
            ValueError: values that are not finite.
        """
        span = slice(first, first + len(features))
        for number, accumulator in enumerate(self.moments):
            accumulator.add(features[self.quarter[span] == number])
        if logits is None:
            self.has_logits = False
        else:
            self.classes.add(logits, self.split[span])
        chosen = np.flatnonzero(self.kept[span])
        if len(chosen):
            self.rows.append((first + chosen, features[chosen]))

    def merge(self, other: Collector) -> None:
        """Add what another process has seen."""
        for mine, theirs in zip(self.moments, other.moments, strict=True):
            mine.merge(theirs)
        self.classes.merge(other.classes)
        self.has_logits = self.has_logits and other.has_logits
        self.rows += other.rows

    def summary(self) -> Summary:
        """The result.

        Raises:
            ValueError: fewer than two images.
        """
        whole = MomentsAccumulator()
        for part in self.moments:
            whole.merge(part)
        quarters = tuple(a.moments() for a in self.moments) if all(a.n >= 2 for a in self.moments) else ()
        rows = sorted(self.rows, key=lambda pair: pair[0][0])
        return Summary(
            n=whole.n,
            moments=whole.moments(),
            quarters=quarters,
            features=np.concatenate([f for _, f in rows]),
            indices=np.concatenate([i for i, _ in rows]),
            class_score=self.classes.score() if self.has_logits else None,
            splits=self.splits,
        )


def _ahead(source: Source, ranges: list[tuple[int, int]]) -> Iterator[tuple[int, Images]]:
    """Batches with their first index; the next one is read while the current one is worked on."""
    with ThreadPoolExecutor(1, "read-images") as pool:
        waiting = [pool.submit(source.read, range(*span)) for span in ranges[:1]]
        for number, (first, _) in enumerate(ranges):
            images = waiting.pop().result()
            if number + 1 < len(ranges):
                waiting.append(pool.submit(source.read, range(*ranges[number + 1])))
            yield first, images


def _collect(
    source: Source,
    extractor: Extractor,
    params: EvaluateParams,
    ranges: list[tuple[int, int]],
    count: int,
    description: str,
    on_features: Row | None,
) -> Collector:
    from tqdm import tqdm

    collector = Collector(count, params)
    with tqdm(total=sum(stop - start for start, stop in ranges), desc=description, unit="img") as bar:
        for first, images in _ahead(source, ranges):
            features, logits = extractor(images)
            collector.add(first, features, logits)
            if on_features is not None:
                on_features(first, features)
            bar.update(len(images))
    return collector


def _collect_on(
    number: int, source: Source, params: EvaluateParams, ranges: list[tuple[int, int]], count: int, description: str
) -> Collector:
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", number % torch.cuda.device_count())
    extractor = make_extractor(params, device)
    return _collect(source, extractor, params, ranges, count, f"{description} ({number})", None)


def processes(params: EvaluateParams) -> int:
    """How many processes ``params.devices`` asks for."""
    if isinstance(params.devices, int):
        return params.devices
    return max(1, torch.cuda.device_count())


def measure(
    source: Source,
    extractor: Extractor,
    params: EvaluateParams,
    description: str,
    on_features: Row | None = None,
) -> Summary:
    """One pass over a source, with a progress bar.

    Args:
        source: images.
        extractor: network.
        params: limits, splits, seed and devices; several devices give the same result as one, up to rounding.
        description: of the progress bar.
        on_features: called with (first index, (B, D) features) of every batch; then one process does all the work.

    Raises:
        ValueError: fewer than ``MINIMUM`` images, unreadable ones, or features that are not finite.
    """
    count = min(source.count, params.max_images or source.count)
    if count < MINIMUM:
        raise ValueError(f"{source.path}: {count} image(s) are too few to score; at least {MINIMUM} are needed")
    size = params.batch_size
    ranges = [(start, min(count, start + size)) for start in range(0, count, size)]
    wanted = min(processes(params), len(ranges))
    if wanted == 1 or on_features is not None:
        return _collect(source, extractor, params, ranges, count, description, on_features).summary()
    with ProcessPoolExecutor(wanted, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(_collect_on, i, source, params, ranges[i::wanted], count, description) for i in range(wanted)
        ]
        first, *others = (job.result() for job in jobs)
    for other in others:
        first.merge(other)
    return first.summary()
