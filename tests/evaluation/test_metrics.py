"""Scores against SciPy, closed forms and brute force, and their behaviour on real pictures."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from cdm_kedro.evaluation.metrics import classifier_score, kernel_distance, precision_recall
from cdm_kedro.evaluation.statistics import (
    Moments,
    MomentsAccumulator,
    frechet_distance,
    frechet_distance_of_features,
    moments,
    psd_sqrt,
)


def random_psd(rng: np.random.Generator, d: int, rank: int) -> np.ndarray:
    a = rng.normal(size=(d, rank))
    return a @ a.T / rank


def test_moments_stream_equals_numpy_even_with_a_large_offset() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 7)) * 3 + 1e6
    accumulator = MomentsAccumulator()
    for part in np.array_split(x, 13):
        accumulator.add(part)
    got = accumulator.moments()
    np.testing.assert_allclose(got.mu, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.sigma, np.cov(x, rowvar=False), rtol=1e-8, atol=1e-8)
    with pytest.raises(ValueError, match="NaN"):
        accumulator.add(np.full((1, 7), np.nan))
    with pytest.raises(ValueError, match="at least 2"):
        MomentsAccumulator().moments()


@pytest.mark.parametrize("rank", [40, 20, 3])
def test_frechet_distance_against_scipy_sqrtm(rank: int) -> None:
    rng = np.random.default_rng(rank)
    a, b = random_psd(rng, 20, rank), random_psd(rng, 20, 40)
    mu_a, mu_b = rng.normal(size=20), rng.normal(size=20)
    root = scipy.linalg.sqrtm((a + 1e-12 * np.eye(20)) @ b)
    expected = ((mu_a - mu_b) ** 2).sum() + np.trace(a + b - 2 * np.real(root))
    assert frechet_distance(Moments(mu_a, a, 9), Moments(mu_b, b, 9)) == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_closed_forms() -> None:
    d = 12
    a, b = np.full(d, 4.0), np.arange(1.0, d + 1)  # commuting covariances: sum of (sd_a - sd_b)^2
    got = frechet_distance(Moments(np.zeros(d), np.diag(a), 9), Moments(np.full(d, 0.5), np.diag(b), 9))
    assert got == pytest.approx(d * 0.25 + ((2 - np.sqrt(b)) ** 2).sum(), rel=1e-12)
    singular = np.zeros((d, d))
    assert frechet_distance(Moments(np.zeros(d), singular, 9), Moments(np.ones(d), singular, 9)) == pytest.approx(d)
    root = psd_sqrt(random_psd(np.random.default_rng(0), 9, 4))
    np.testing.assert_allclose(root, root.T)


def test_feature_shortcut_equals_the_covariance_form() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 50)), rng.normal(size=(40, 50)) * 1.3 + 0.2
    assert frechet_distance_of_features(x, y) == pytest.approx(frechet_distance(moments(x), moments(y)), rel=1e-7)
    assert frechet_distance_of_features(x, x) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_against_torchmetrics_and_for_equal_distributions() -> None:
    import torch
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 16)), rng.normal(size=(60, 16)) + 0.3
    whole, _ = kernel_distance(x, y, subsets=2, subset_size=60)
    k = [torch.from_numpy((p @ q.T / 16 + 1) ** 3) for p, q in ((x, x), (x, y), (y, y))]
    # torchmetrics' own formula from the three kernel matrices
    expected = float(
        __import__("torchmetrics.image.kid", fromlist=["maximum_mean_discrepancy"]).maximum_mean_discrepancy(*k)
    )
    assert whole == pytest.approx(expected, rel=1e-9)
    assert callable(poly_mmd)
    a, b = rng.normal(size=(2000, 16)), rng.normal(size=(2000, 16))
    mean, error = kernel_distance(a, b)
    assert abs(mean) < 5 * error + 5e-3


def test_classifier_score_closed_forms() -> None:
    sure = np.kron(np.eye(5), np.ones((20, 1))) * 1000.0  # one class each, evenly: the number of classes
    assert classifier_score(sure, splits=1)[0] == pytest.approx(5)
    assert classifier_score(np.zeros((50, 5)), splits=5)[0] == pytest.approx(1)
    logits = np.random.default_rng(0).normal(size=(40, 6))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp(np.mean(np.sum(p * (np.log(p) - np.log(p.mean(0))), 1)))
    assert classifier_score(logits, splits=1) == (pytest.approx(expected), 0.0)
    with pytest.raises(ValueError, match=r"evaluate\.splits"):
        classifier_score(logits[:3], splits=10)


def test_precision_recall_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(50, 3)), rng.normal(size=(40, 3)) + 0.8

    def inside(points: np.ndarray, manifold: np.ndarray) -> float:
        hits = 0
        for p in points:
            for m in manifold:
                radius = sorted(np.linalg.norm(manifold - m, axis=1))[3]
                if np.linalg.norm(p - m) <= radius:
                    hits += 1
                    break
        return hits / len(points)

    for block in (7, 2048):
        assert precision_recall(real, fake, block=block) == (inside(fake, real), inside(real, fake))
    far = precision_recall(real, fake + 100)
    assert far == (0.0, 0.0)
    dropped = precision_recall(real, np.repeat(real[:5], 8, 0) + 1e-6)
    assert dropped[0] == 1.0 and dropped[1] < 0.5  # few modes: precise, low recall
