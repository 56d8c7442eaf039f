"""Moments against NumPy; the Fréchet distance against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from cdm_kedro.evaluation.statistics import Moments, MomentsAccumulator, frechet_distance, moments, psd_sqrt


def rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    return scipy.stats.ortho_group.rvs(d, random_state=rng) if d > 1 else np.ones((1, 1))


@pytest.mark.parametrize("count", [5, 40, 41, 1000])  # fewer than, as many as, more than the dimensions
def test_stream_equals_batch_even_with_a_large_offset(count: int) -> None:
    x = np.random.default_rng(0).normal(size=(count, 40)) * 3 + 1e6
    accumulator = MomentsAccumulator()
    for part in np.array_split(x, 4):
        accumulator.add(part)
    got, whole = accumulator.moments(), moments(x)
    for found in (got, whole):
        np.testing.assert_allclose(found.mu, x.mean(0), rtol=1e-13)
        np.testing.assert_allclose(found.covariance(), np.cov(x, rowvar=False), rtol=1e-7, atol=1e-8)
        assert found.n == count and found.trace == pytest.approx(np.trace(found.covariance()))
        assert (found.factor is not None) == (count <= 40)


@pytest.mark.parametrize("sizes", [(30, 30), (3, 200), (200, 3), (150, 90), (0, 60), (25, 0)])
def test_merged_accumulators_equal_one(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(sizes[0], 40)) + 50, rng.normal(size=(sizes[1], 40)) * 2 - 50
    left, right = MomentsAccumulator(), MomentsAccumulator()
    left.add(a)
    right.add(b)
    left.merge(right)
    got, expected = left.moments(), moments(np.concatenate((a, b)))
    assert got.n == expected.n == sum(sizes)
    np.testing.assert_allclose(got.mu, expected.mu, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(got.covariance(), expected.covariance(), rtol=1e-10, atol=1e-9)
    other = right.n
    assert other == sizes[1]  # left as it was


def test_accumulator_refuses_damaged_features() -> None:
    accumulator = MomentsAccumulator()
    with pytest.raises(ValueError, match="at least 2"):
        accumulator.moments()
    accumulator.add(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="NaN"):
        accumulator.add(np.full((1, 7), np.nan))
    with pytest.raises(ValueError, match="8 dimensions, those before have 7"):
        accumulator.add(np.zeros((1, 8)))
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        accumulator.add(np.zeros(7))
    with pytest.raises(ValueError, match="different extractors"):
        frechet_distance(moments(np.eye(4)), moments(np.eye(5)))


@pytest.mark.parametrize("d", [1, 2, 17, 128, 400])
@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_frechet_distance_of_commuting_covariances(d: int, zeros: float) -> None:
    """With a common eigenbasis it is |mu_a - mu_b|^2 plus the sum of (sd_a - sd_b)^2; ``zeros`` makes A singular."""
    rng = np.random.default_rng(d)
    q = rotation(rng, d)
    a, b = rng.uniform(0.1, 9, d), rng.uniform(0.1, 9, d)
    a[: round(zeros * d)] = 0
    b[d - round(zeros * d / 2) :] = 0
    mu_a, mu_b = rng.normal(size=d), rng.normal(size=d)
    expected = ((mu_a - mu_b) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    p, r = (Moments(mu, 9, sigma=q * v @ q.T) for mu, v in ((mu_a, a), (mu_b, b)))
    assert frechet_distance(p, r) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(r, p) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("d", "rank"), [(3, 3), (40, 40), (40, 7), (300, 300), (300, 1)])
def test_frechet_distance_of_covariances_that_do_not_commute(d: int, rank: int) -> None:
    """For B = M A M with M positive semi-definite the optimal map is M, so tr((A B)^(1/2)) = tr(M A)."""
    rng = np.random.default_rng(d + rank)
    root, m = rng.normal(size=(d, rank)), rng.normal(size=(d, d))
    a, m = root @ root.T / rank, m @ m.T / d
    b = m @ a @ m
    assert np.abs(a @ b - b @ a).max() > 1e-3
    expected = np.trace(a) + np.trace(b) - 2 * np.trace(m @ a)
    zero = np.zeros(d)
    got = frechet_distance(Moments(zero, 9, sigma=a), Moments(zero, 9, sigma=(b + b.T) / 2))
    assert got == pytest.approx(expected, rel=1e-6)
    by_factors = frechet_distance(Moments(zero, 9, factor=root.T / np.sqrt(rank)), Moments(zero, 9, sigma=b))
    assert by_factors == pytest.approx(expected, rel=1e-6)
    both = frechet_distance(
        Moments(zero, 9, factor=root.T / np.sqrt(rank)), Moments(zero, 9, factor=root.T @ m / np.sqrt(rank))
    )
    assert both == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_points_and_lines() -> None:
    d = 12
    zero = np.zeros((d, d))
    assert frechet_distance(Moments(np.zeros(d), 9, sigma=zero), Moments(np.ones(d), 9, sigma=zero)) == d
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=d), rng.normal(size=d)
    got = frechet_distance(Moments(u, 9, sigma=np.outer(u, u)), Moments(u, 9, sigma=np.outer(v, v)))
    assert got == pytest.approx(u @ u + v @ v - 2 * abs(u @ v), rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 400, 24), (2000, 1500, 150), (60, 500, 50)])
def test_frechet_distance_of_features_against_scipy_sqrtm(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(n)
    x = np.maximum(rng.normal(size=(n, d)), 0) @ rng.normal(size=(d, d))  # skewed and correlated, as features are
    y = np.maximum(rng.normal(size=(m, d)) + 0.2, 0) @ rng.normal(size=(d, d))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(a @ b))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(expected, rel=1e-6)


def test_fewer_samples_than_dimensions_equal_the_covariance_form() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 50)), rng.normal(size=(40, 50)) * 1.3 + 0.2
    few, other = moments(x), moments(y)
    full = [Moments(m.mu, m.n, sigma=m.covariance()) for m in (few, other)]
    assert few.factor is not None and full[0].sigma is not None
    assert frechet_distance(few, other) == pytest.approx(frechet_distance(*full), rel=1e-6)
    assert frechet_distance(few, full[1]) == pytest.approx(frechet_distance(*full), rel=1e-6)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    root = psd_sqrt(full[0].sigma)
    np.testing.assert_array_equal(root, root.T)
    np.testing.assert_allclose(root @ root, full[0].sigma, atol=1e-9)
