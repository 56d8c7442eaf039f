"""First and second moments of features, and the Fréchet distance between two sets of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.errors import CdmError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean and unbiased covariance of a set of features, float64.

    Either ``sigma`` or ``factor`` is given. With fewer samples than dimensions the factor is smaller and more precise.

    Attributes:
        mu: (D,) mean.
        n: number of samples; None if a file of another evaluator does not say it.
        sigma: (D, D) covariance.
        factor: (R, D) matrix with sigma = factor.T @ factor.
    """

    mu: Float
    n: int | None
    sigma: Float | None = None
    factor: Float | None = None

    def covariance(self) -> Float:
        """The covariance (D, D) from either form."""
        return self.root.T @ self.root if self.sigma is None else self.sigma

    @cached_property
    def trace(self) -> float:
        """Trace of the covariance."""
        return float((self.root**2).sum() if self.sigma is None else np.trace(self.sigma))

    @cached_property
    def root(self) -> Float:
        """A matrix F, (R, D) or (D, D), with sigma = F.T @ F; it may cost one eigendecomposition."""
        if self.factor is not None:
            return self.factor
        assert self.sigma is not None
        return psd_sqrt(self.sigma)


class MomentsAccumulator:
    """Moments of a stream of features; the memory is about D x D numbers for any length.

    At most D rows are kept as they are. More rows are folded into sums relative to the first fold's mean, so that a
    large common offset costs no precision.
    """

    def __init__(self) -> None:
        self.n = 0
        self._rows: list[NDArray[np.floating]] = []
        self._shift: Float | None = None
        self._sum: Float = np.zeros(0)
        self._outer: Float = np.zeros((0, 0))

    def add(self, features: NDArray[np.floating]) -> None:
        """Add (B, D) features.

        Raises CdmError if the features are not two-dimensional, have another D than before, or are not finite.
        """
        x = np.array(features)
        if x.ndim != 2:
            raise CdmError(f"features must be (N, D); got {x.shape}")
        dim = len(self._shift) if self._shift is not None else self._rows[0].shape[1] if self._rows else None
        if dim is not None and x.shape[1] != dim:
            raise CdmError(f"features have {x.shape[1]} dimensions, those before have {dim}")
        if not np.isfinite(x).all():
            raise CdmError("features hold NaN or infinity; the images or the extractor's weights are damaged")
        if len(x) == 0:
            return
        self._rows.append(x)
        self.n += len(x)
        if sum(map(len, self._rows)) > x.shape[1]:
            self._fold()

    def merge(self, other: "MomentsAccumulator") -> None:
        """Add what another accumulator has seen, which stays as it was."""
        if other._shift is not None:
            self._fold()
            if self._shift is None:
                self._shift = other._shift.copy()
                self._sum, self._outer = np.zeros_like(other._sum), np.zeros_like(other._outer)
            count, d = other.n - sum(map(len, other._rows)), other._shift - self._shift
            cross = np.outer(d, other._sum)
            self._outer += other._outer + cross + cross.T + count * np.outer(d, d)
            self._sum += other._sum + count * d
            self.n += count
        for rows in other._rows:
            self.add(rows)

    def _fold(self) -> None:
        if not self._rows:
            return
        x = np.concatenate(self._rows).astype(np.float64)
        self._rows = []
        if self._shift is None:
            self._shift = x.mean(0)
            self._sum, self._outer = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1]))
        x -= self._shift
        self._sum += x.sum(0)
        self._outer += x.T @ x

    def moments(self) -> Moments:
        """Mean and unbiased covariance. Raises CdmError if there are fewer than two samples."""
        if self.n < 2:
            raise CdmError(f"{self.n} image(s) have no covariance; at least 2 are needed")
        if self._shift is None:
            x = np.concatenate(self._rows).astype(np.float64)
            mu = x.mean(0)
            return Moments(mu, self.n, factor=(x - mu) / np.sqrt(self.n - 1))
        self._fold()
        mean = self._sum / self.n
        sigma = (self._outer - self.n * np.outer(mean, mean)) / (self.n - 1)
        return Moments(mean + self._shift, self.n, sigma=(sigma + sigma.T) / 2)


def moments(features: NDArray[np.floating]) -> Moments:
    """Moments of features (N, D) that are in memory."""
    accumulator = MomentsAccumulator()
    accumulator.add(features)
    return accumulator.moments()


def _roots(eigenvalues: NDArray[np.floating]) -> Float:
    """Square roots of a positive semi-definite matrix's eigenvalues, with 0 for those that are 0 up to rounding.

    A singular matrix has many rounding errors of about 1e-16, whose roots of 1e-8 would add up.
    """
    floor = 8 * np.finfo(np.float64).eps * max(float(eigenvalues.max(initial=0)), 0.0)
    return np.sqrt(np.where(eigenvalues > floor, eigenvalues, 0))


def psd_sqrt(matrix: Float) -> Float:
    """Symmetric square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    half = vectors * np.sqrt(_roots(values))
    return half @ half.T


def frechet_distance(a: Moments, b: Moments) -> float:
    """Fréchet distance of two Gaussians: |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)) (Heusel et al. 2017).

    With A = F.T F, the trace of (A B)^(1/2) is the sum of the square roots of the eigenvalues of the symmetric F B F.T.
    With B = G.T G too, it is the nuclear norm of F G.T. Both are stable if A or B is singular; a root of A B is not.
    Raises CdmError if the dimensions differ, or values are not finite.
    """
    if a.mu.shape != b.mu.shape:
        raise CdmError(
            f"the statistics have {len(a.mu)} and {len(b.mu)} dimensions; they come from different extractors"
        )
    if b.factor is None and a.factor is not None:
        a, b = b, a
    # b has a factor if either has one; else its root stays cached on it, so callers pass the reference second.
    f = b.root
    if a.factor is not None:
        cross = np.linalg.svd(f @ a.factor.T, compute_uv=False).sum()
    else:
        product = f @ a.covariance() @ f.T
        cross = _roots(np.linalg.eigvalsh((product + product.T) / 2)).sum()
    difference = a.mu - b.mu
    value = float(difference @ difference + a.trace + b.trace - 2 * cross)
    if not np.isfinite(value):
        raise CdmError("the statistics hold NaN or infinity")
    return max(value, 0.0)
