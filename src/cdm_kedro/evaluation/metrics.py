"""The metrics' names, and their formulas over features and logits; ``statistics`` holds the Fréchet distance."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]
Float = NDArray[np.float64]

CANONICAL = "inception2015"  # name of the extractor whose Fréchet distance is FID


def metric_names(extractor: str) -> dict[str, str]:
    """Names of the Fréchet distance ``fd``, the Inception-style ``score``, ``precision`` and ``recall``.

    Only the canonical network's are FID, Inception score, precision and recall; others bear the extractor's name.
    """
    bare = {"fd": "fid", "score": "inception_score", "precision": "precision", "recall": "recall"}
    return bare if extractor == CANONICAL else {key: f"{key}_{extractor}" for key in bare}


def kernel_distance(a: Features, b: Features, block: int = 1024) -> tuple[float, float]:
    """Kernel distance: unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018).

    Every pair of features counts once. The usual mean over random subsets estimates the same number with more noise.
    Returns the estimate and its standard error, by the delete-one jackknife over both sets. The estimate is negative
    half of the time if the distributions agree. Raises ValueError if there are fewer than 3 images on a side. ``a`` and
    ``b``: (N, D) and (M, D) features.
    """
    n, m = len(a), len(b)
    if min(n, m) < 3:
        raise ValueError(f"the kernel distance needs at least 3 images on each side; got {n} and {m}")
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def kernel(p: Float, q: Float) -> Float:
        return np.asarray((p @ q.T / x.shape[1] + 1) ** 3)

    def within(p: Float) -> Float:
        rows = [kernel(p[i : i + block], p).sum(1) for i in range(0, len(p), block)]
        return np.concatenate(rows) - ((p**2).sum(1) / x.shape[1] + 1) ** 3

    cross_x, cross_y = np.empty(n), np.zeros(m)
    for start in range(0, n, block):
        k = kernel(x[start : start + block], y)
        cross_x[start : start + block] = k.sum(1)
        cross_y += k.sum(0)
    within_x, within_y = within(x), within(y)
    total_x, total_y, cross = within_x.sum(), within_y.sum(), cross_x.sum()
    mean_x, mean_y = total_x / (n * (n - 1)), total_y / (m * (m - 1))
    value = mean_x + mean_y - 2 * cross / (n * m)
    without_x = (total_x - 2 * within_x) / ((n - 1) * (n - 2)) + mean_y - 2 * (cross - cross_x) / ((n - 1) * m)
    without_y = mean_x + (total_y - 2 * within_y) / ((m - 1) * (m - 2)) - 2 * (cross - cross_y) / (n * (m - 1))
    variance = (n - 1) * without_x.var() + (m - 1) * without_y.var()
    return float(value), float(np.sqrt(variance))


class InceptionScore:
    """The Inception score in one pass, of the logits of any classifier.

    It is the exponential of the mean KL divergence of an image's class distribution from the mean distribution
    (Salimans et al. 2016).
    """

    def __init__(self, splits: int) -> None:
        self.counts = np.zeros(splits)
        self.negative_entropy = np.zeros(splits)
        self.marginal: Float | None = None

    def add(self, logits: Features, split: NDArray[np.integer]) -> None:
        """Add (B, classes) logits whose rows belong to the splits (B,)."""
        from scipy.special import log_softmax

        log_p = log_softmax(np.asarray(logits, np.float64), 1)
        p = np.exp(log_p)
        if self.marginal is None:
            self.marginal = np.zeros((len(self.counts), p.shape[1]))
        np.add.at(self.counts, split, 1)
        np.add.at(self.negative_entropy, split, (p * log_p).sum(1))
        np.add.at(self.marginal, split, p)

    def result(self) -> tuple[float, float]:
        """Mean and standard deviation over splits. Raises ValueError if a split has no image."""
        from scipy.special import xlogy

        if self.marginal is None or (self.counts == 0).any():
            raise ValueError(f"{int(self.counts.sum())} images cannot be scored in {len(self.counts)} splits")
        p = self.marginal / self.counts[:, None]
        scores = np.exp(self.negative_entropy / self.counts - xlogy(p, p).sum(1))
        return float(scores.mean()), float(scores.std())


def split_numbers(count: int, splits: int, seed: int) -> NDArray[np.int64]:
    """The split of each image, (count,): consecutive parts of a seeded shuffle, whose sizes differ by one at most."""
    out = np.empty(count, np.int64)
    for number, part in enumerate(np.array_split(np.random.default_rng(seed).permutation(count), splits)):
        out[part] = number
    return out


def squared_distances(a: Features, b: Features) -> Float:
    """Squared Euclidean distances (N, M) of the rows of (N, D) and (M, D)."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T, 0)


def neighbour_radii(x: Features, k: int = 3, block: int = 1024) -> Float:
    """Squared distance (N,) of each row to its k-th nearest other row."""
    rows = [np.partition(squared_distances(x[i : i + block], x), k)[:, k].copy() for i in range(0, len(x), block)]
    return np.concatenate(rows)


def precision_recall(real: Features, fake: Features, k: int = 3, block: int = 1024) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019).

    Returns precision, the share of generated images inside the real manifold, and recall, the share of real images
    inside the generated one. Raises ValueError if there are at most k images on a side.

    Args:
        real: (N, D) features of real images.
        fake: (M, D) features of generated images.
        k: a set's manifold reaches from each of its images to that image's k-th nearest neighbour in the set.
        block: number of rows that are compared at a time, which bounds the memory.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"precision and recall need more than k = {k} images on each side")
    radii_real, radii_fake = neighbour_radii(real, k, block), neighbour_radii(fake, k, block)
    precision = np.zeros(len(fake), bool)
    recall = np.zeros(len(real), bool)
    for start in range(0, len(fake), block):
        rows = slice(start, start + block)
        d = squared_distances(fake[rows], real)
        precision[rows] = (d <= radii_real[None]).any(1)
        recall |= (d <= radii_fake[rows, None]).any(0)
    return float(precision.mean()), float(recall.mean())


def realism(real: Features, fake: Features, k: int = 3, block: int = 1024) -> Float:
    """Realism of each generated image: the largest ratio of radius to distance over the real images.

    A generated image with at least 1 lies inside the real manifold. The half of the real images with the larger radii
    is left out (Kynkäänniemi et al. 2019, section 5). Returns (M,). Arguments are those of :func:`precision_recall`.
    """
    radii = neighbour_radii(real, k, block)
    dense = radii <= np.median(radii)
    kept, radii = np.asarray(real)[dense], radii[dense]
    distances = (squared_distances(fake[i : i + block], kept) for i in range(0, len(fake), block))
    return np.sqrt(np.concatenate([(radii[None] / np.maximum(d, 1e-12)).max(1) for d in distances]))


def nearest(
    queries: Features, count: int, rows: Callable[[int, int], Features], k: int, block: int = 8192
) -> tuple[NDArray[np.int64], Float]:
    """The k stored rows that are nearest to each query; the stored rows are read in blocks.

    Returns row numbers (Q, k), nearest first, and Euclidean distances (Q, k). ``queries``: (Q, D) features. ``rows``:
    gives the stored rows from a start to a stop, (stop - start, D).
    """
    k = min(k, count)
    best = np.full((len(queries), 0), np.inf)
    index = np.zeros((len(queries), 0), np.int64)
    for start in range(0, count, block):
        stop = min(count, start + block)
        best = np.concatenate((best, squared_distances(queries, rows(start, stop))), 1)
        numbers = np.broadcast_to(np.arange(start, stop), (len(queries), stop - start))
        index = np.concatenate((index, numbers), 1)
        order = np.argsort(best, 1, kind="stable")[:, :k]
        best, index = np.take_along_axis(best, order, 1), np.take_along_axis(index, order, 1)
    return index, np.sqrt(best)
