"""Scores against brute force, torchmetrics, SciPy and closed forms, and their errors against repetition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree
from torchmetrics.image.kid import maximum_mean_discrepancy

from cdm_kedro.evaluation.metrics import (
    InceptionScore,
    kernel_distance,
    nearest,
    precision_recall,
    realism,
    split_numbers,
)


def brute_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def k(p: np.ndarray, q: np.ndarray) -> float:
        return float((p @ q / len(p) + 1) ** 3)

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(p, q) for p in x for q in y) / (n * m)
    return xx + yy - 2 * xy


@pytest.mark.parametrize("block", [5, 1024])
def test_kernel_distance_and_its_jackknife_against_brute_force(block: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 6)), rng.normal(size=(9, 6)) * 1.2 + 0.3
    value, error = kernel_distance(x, y, block)
    assert value == pytest.approx(brute_mmd(x, y), rel=1e-10)
    without_x = np.array([brute_mmd(np.delete(x, i, 0), y) for i in range(12)])
    without_y = np.array([brute_mmd(x, np.delete(y, i, 0)) for i in range(9)])
    squares = [(n - 1) / n * ((w - w.mean()) ** 2).sum() for n, w in ((12, without_x), (9, without_y))]
    assert error == pytest.approx(np.sqrt(sum(squares)), rel=1e-9)
    with pytest.raises(ValueError, match="at least 3"):
        kernel_distance(x[:2], y)


def test_kernel_distance_against_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 16)), rng.normal(size=(60, 16)) + 0.3
    k = [torch.from_numpy((p @ q.T / 16 + 1) ** 3) for p, q in ((x, x), (x, y), (y, y))]
    assert kernel_distance(x, y)[0] == pytest.approx(float(maximum_mean_discrepancy(*k)), rel=1e-9)


def test_kernel_distance_is_unbiased_and_its_error_is_the_spread_of_repetitions() -> None:
    rng = np.random.default_rng(0)
    same = np.array([kernel_distance(rng.normal(size=(60, 8)), rng.normal(size=(80, 8))) for _ in range(300)])
    assert abs(same[:, 0].mean()) < 3 * same[:, 0].std() / np.sqrt(300)
    apart = np.array([kernel_distance(rng.normal(size=(60, 8)), rng.normal(size=(80, 8)) + 0.5) for _ in range(300)])
    assert apart[:, 1].mean() == pytest.approx(apart[:, 0].std(), rel=0.2)


def class_score(logits: np.ndarray, splits: int, parts: int = 3) -> tuple[float, float]:
    """The score, streamed in parts."""
    score = InceptionScore(splits)
    numbers = split_numbers(len(logits), splits, 0)
    for rows in np.array_split(np.arange(len(logits)), parts):
        score.add(logits[rows], numbers[rows])
    return score.result()


def test_class_score_of_known_distributions() -> None:
    sure = np.kron(np.eye(5), np.ones((20, 1))) * 1000.0  # one class each, evenly: the number of classes
    assert class_score(sure, 1) == (pytest.approx(5), 0)
    assert class_score(np.zeros((50, 5)), 5) == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    # Every image gives its class 1 - e and the rest evenly: exp(log K + (1 - e) log(1 - e) + e log(e / (K - 1))).
    k, e = 8, 0.3
    p = np.full((k, k), e / (k - 1)) + np.eye(k) * (1 - e - e / (k - 1))
    expected = k * (1 - e) ** (1 - e) * (e / (k - 1)) ** e
    assert class_score(np.tile(np.log(p), (6, 1)) + 3.7, 1)[0] == pytest.approx(expected)


def test_class_score_of_splits_against_a_direct_sum() -> None:
    logits = np.random.default_rng(0).normal(size=(43, 6)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    numbers = split_numbers(43, 4, 0)
    assert sorted(np.bincount(numbers)) == [10, 11, 11, 11]
    parts = [p[numbers == i] for i in range(4)]
    direct = [np.exp(np.mean(np.sum(q * (np.log(q) - np.log(q.mean(0))), 1))) for q in parts]
    got = class_score(logits, 4, parts=7)
    assert got == (pytest.approx(np.mean(direct)), pytest.approx(np.std(direct)))
    with pytest.raises(ValueError, match="3 images cannot be scored in 10 splits"):
        class_score(logits[:3], 10)


def inside(points: np.ndarray, manifold: np.ndarray) -> float:
    """Share of points within the third-neighbour radius of any row of the manifold, by SciPy's tree."""
    radii = KDTree(manifold).query(manifold, 4)[0][:, 3]
    hits = [(np.linalg.norm(manifold - p, axis=1) <= radii).any() for p in points]
    return float(np.mean(hits))


@pytest.mark.parametrize("block", [7, 1024])
def test_precision_and_recall_against_scipy(block: int) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(50, 3)), rng.normal(size=(40, 3)) + 0.8
    got = precision_recall(real, fake, block=block)
    assert got == (inside(fake, real), inside(real, fake))
    assert 0 < got[0] < 1 and 0 < got[1] < 1
    assert precision_recall(real, fake + 100, block=block) == (0.0, 0.0)
    dropped = precision_recall(real, np.repeat(real[:5], 8, 0) + 1e-6, block=block)
    assert dropped[0] == 1.0 and dropped[1] < 0.5  # few modes: precise, low recall
    with pytest.raises(ValueError, match="more than k = 3"):
        precision_recall(real[:3], fake)


def test_realism_against_its_definition() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(41, 3)), rng.normal(size=(20, 3)) + 0.8
    radii = KDTree(real).query(real, 4)[0][:, 3]
    kept = radii <= np.median(radii)
    expected = [(radii[kept] / np.linalg.norm(real[kept] - f, axis=1)).max() for f in fake]
    np.testing.assert_allclose(realism(real, fake, block=6), expected, rtol=1e-6)


def test_nearest_rows_against_scipy() -> None:
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(103, 5)), rng.normal(size=(7, 5))
    distances, index = KDTree(rows).query(queries, 4)
    got = nearest(queries, 103, lambda start, stop: rows[start:stop], 4, block=10)
    np.testing.assert_array_equal(got[0], index)
    np.testing.assert_allclose(got[1], distances, rtol=1e-7)
