"""First and second moments of features, and the Fréchet distance between two sets of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean (D,) and covariance (D, D), float64, with the number of samples behind them."""

    mu: Float
    sigma: Float
    n: int


class MomentsAccumulator:
    """Moments of a stream at bounded memory, float64.

    Sums are kept relative to the first batch's mean, so that a large common offset costs no precision.
    """

    def __init__(self) -> None:
        self.n = 0
        self._shift: Float | None = None

    def add(self, features: NDArray[np.floating]) -> None:
        """Add (B, D) features.

        Raises:
            ValueError: values that are not finite.
        """
        x = np.asarray(features, np.float64)
        if not np.isfinite(x).all():
            raise ValueError("features hold NaN or infinity; the images or the extractor's weights are damaged")
        if self._shift is None:
            self._shift = x.mean(0)
            self._sum, self._outer = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1]))
        x = x - self._shift
        self._sum += x.sum(0)
        self._outer += x.T @ x
        self.n += len(x)

    def moments(self) -> Moments:
        """Mean and unbiased covariance.

        Raises:
            ValueError: fewer than two samples.
        """
        if self.n < 2 or self._shift is None:
            raise ValueError(f"{self.n} image(s) have no covariance; at least 2 are needed")
        mean = self._sum / self.n
        sigma = (self._outer - self.n * np.outer(mean, mean)) / (self.n - 1)
        return Moments(mean + self._shift, (sigma + sigma.T) / 2, self.n)


def moments(features: NDArray[np.floating]) -> Moments:
    """Moments of (N, D) features in memory."""
    accumulator = MomentsAccumulator()
    accumulator.add(features)
    return accumulator.moments()


def psd_sqrt(matrix: Float) -> Float:
    """Symmetric square root of a symmetric positive semi-definite matrix; negative eigenvalues count as 0."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def frechet_distance(a: Moments, b: Moments) -> float:
    """Fréchet distance of two Gaussians: |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Heusel et al. 2017).

    The trace of the product's root is taken as that of the symmetric (A^1/2 B A^1/2)^(1/2): stable when singular.
    """
    root = psd_sqrt(a.sigma)
    values = np.linalg.eigvalsh(root @ b.sigma @ root)
    cross = np.sqrt(np.clip(values, 0, None)).sum()
    difference = a.mu - b.mu
    return float(difference @ difference + np.trace(a.sigma) + np.trace(b.sigma) - 2 * cross)


def frechet_distance_of_features(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """The same from features directly; cheap when there are fewer samples than dimensions.

    With centred and scaled A = Xa / sqrt(n - 1), the trace of the root is the nuclear norm of A B^T.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mu_x, mu_y = x.mean(0), y.mean(0)
    x, y = (x - mu_x) / np.sqrt(len(x) - 1), (y - mu_y) / np.sqrt(len(y) - 1)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(((mu_x - mu_y) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * cross)
