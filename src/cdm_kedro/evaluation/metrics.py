"""Scores over features and logits: kernel distance, Inception-style score, precision and recall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]


def kernel_distance(
    a: Features, b: Features, subsets: int = 50, subset_size: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018).

    Args:
        a: (N, D).
        b: (M, D).
        subsets: number of random subsets averaged.
        subset_size: samples of each side in a subset, at most N and M.
        seed: of the subsets.

    Returns:
        Mean over subsets and its standard error.
    """
    rng = np.random.default_rng(seed)
    m = min(subset_size, len(a), len(b))
    if m < 2:
        raise ValueError("kernel distance needs at least 2 images on each side")
    x_all, y_all = np.asarray(a, np.float64), np.asarray(b, np.float64)
    values = []
    for _ in range(subsets):
        x, y = x_all[rng.permutation(len(x_all))[:m]], y_all[rng.permutation(len(y_all))[:m]]
        d = x.shape[1]
        kxx, kyy, kxy = ((p @ q.T / d + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = (kxx.sum() - np.trace(kxx) + kyy.sum() - np.trace(kyy)) / (m * (m - 1))
        values.append(within - 2 * kxy.mean())
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(subsets))


def classifier_score(logits: Features, splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Exp of the mean KL from each image's class distribution to the marginal (Salimans et al. 2016).

    Args:
        logits: (N, classes).
        splits: parts that are scored apart, after a seeded shuffle.
        seed: of the shuffle.

    Returns:
        Mean and standard deviation over splits.
    """
    if len(logits) < splits:
        raise ValueError(f"{len(logits)} images cannot be scored in {splits} splits; lower evaluate.splits")
    x = np.asarray(logits, np.float64)[np.random.default_rng(seed).permutation(len(logits))]
    x = x - x.max(1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    scores = []
    for part in np.array_split(log_p, splits):
        p = np.exp(part)
        log_marginal = np.log(p.mean(0))
        scores.append(np.exp((p * (part - log_marginal)).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _squared_distances(a: Features, b: Features) -> NDArray[np.float64]:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T, 0)


def _radii(x: Features, k: int, block: int) -> NDArray[np.float64]:
    out = []
    for start in range(0, len(x), block):
        out.append(np.partition(_squared_distances(x[start : start + block], x), k, axis=1)[:, k])
    return np.concatenate(out)


def precision_recall(real: Features, fake: Features, k: int = 3, block: int = 2048) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019), in blocks at bounded memory.

    Args:
        real: (N, D).
        fake: (M, D).
        k: the manifold around a sample reaches to its k-th nearest neighbour in its own set.
        block: rows at a time.

    Returns:
        Share of fakes inside the real manifold, and of reals inside the fake one.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"precision and recall need more than k = {k} images on each side")
    radii_real, radii_fake = _radii(real, k, block), _radii(fake, k, block)
    precision = np.zeros(len(fake), bool)
    recall = np.zeros(len(real), bool)
    for start in range(0, len(fake), block):
        rows = slice(start, start + block)
        d = _squared_distances(fake[rows], real)
        precision[rows] = (d <= radii_real[None]).any(1)
        recall |= (d <= radii_fake[rows, None]).any(0)
    return float(precision.mean()), float(recall.mean())
