"""On real photographs distances grow with blur, noise and lost modes, and a held-out half is as near as chance has it.

The photographs are the two that scikit-learn ships, cut into four regions that look nothing like each other: blurred
dark leaves, sky over a lake and trees, a pagoda, a flower's petals. Crops at random places of a region are a mode.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from cdm_kedro.evaluation.collect import collect
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.metrics import kernel_distance
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.params.evaluation import EvaluateParams

MODES = 4
SPLITS = 19  # a held-out half that is like the others falls beyond all of them once in ten times; the seed is fixed
BLUR = (1.0, 2.0, 4.0)  # sigma in pixels
NOISE = (16.0, 32.0, 64.0)  # standard deviation, of 0..255
Distance = Callable[[np.ndarray, np.ndarray], float]


def regions() -> list[np.ndarray]:
    """The modes, (H, W, 3) uint8."""
    china, flower = load_sample_images().images
    return [flower[:, 450:], china[:, 340:], china[:, :340], flower[:, 170:450]]


def cut(region: np.ndarray, side: int, step: int, order: np.random.Generator) -> np.ndarray:
    """(N, side, side, 3) crops every ``step`` pixels, shuffled."""
    views = np.lib.stride_tricks.sliding_window_view(region, (side, side), (0, 1))[::step, ::step]
    return order.permutation(np.moveaxis(views.reshape(-1, 3, side, side), 1, -1))


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def noisy(images: np.ndarray, std: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, std, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def fewer_modes(modes: list[np.ndarray], first: int, count: int, kept: int) -> np.ndarray:
    """As many images as all modes give, of the first ``kept`` modes alone, none of them twice."""
    return np.concatenate([mode[first : first + count * MODES // kept] for mode in modes[:kept]])


def noise_floor(real: np.ndarray, held_out: np.ndarray, distance: Distance) -> list[float]:
    """Distances of the halves of random splits of both sets together, as many of each mode in either half."""
    count = len(real) // MODES
    together = np.concatenate([half.reshape(MODES, count, -1) for half in (real, held_out)], 1)
    rng, found = np.random.default_rng(2), []
    for _ in range(SPLITS):
        mixed = np.stack([mode[rng.permutation(2 * count)] for mode in together])
        a, b = (part.reshape(len(real), -1) for part in (mixed[:, :count], mixed[:, count:]))
        found.append(distance(a, b))
    return found


def check(
    real: np.ndarray, held_out: np.ndarray, worse: dict[str, list[np.ndarray]], distance: Distance, gap: float
) -> None:
    """Each list of ``worse`` goes from slight to strong; ``gap`` is in ranges of the floor."""
    nearest, floor = distance(held_out, real), noise_floor(real, held_out, distance)
    low, high = min(floor), max(floor)
    assert low <= nearest <= high
    for kind, features in worse.items():
        grown = [nearest, *(distance(f, real) for f in features)]
        assert all(a < b for a, b in pairwise(grown)), (kind, grown)
        assert grown[1] > high + gap * (high - low), (kind, grown, low, high)


def test_distances_in_the_networks_features(tmp_path: Path) -> None:
    params = EvaluateParams(input_side=64, batch_size=32, devices=1)
    extractor, rng, count = make_extractor(params), np.random.default_rng(0), 48
    modes = [cut(region, 64, 12, rng) for region in regions()]
    held_out = np.concatenate([mode[count : 2 * count] for mode in modes])

    def features(images: np.ndarray) -> np.ndarray:
        np.savez(tmp_path / "images.npz", images)
        return collect(NpzSource(tmp_path / "images.npz"), extractor, params, "photographs").features

    real, near = features(np.concatenate([mode[:count] for mode in modes])), features(held_out)
    worse = {
        "blur": [features(blurred(held_out, sigma)) for sigma in BLUR],
        "noise": [features(noisy(held_out, std)) for std in NOISE],
        "modes": [features(fewer_modes(modes, count, count, kept)) for kept in (3, 2, 1)],
    }
    check(real, near, worse, lambda a, b: frechet_distance(moments(a), moments(b)), gap=2)
    check(real, near, worse, lambda a, b: kernel_distance(a, b)[0], gap=1)


def test_frechet_distance_of_pixels() -> None:
    """No network: grey 8 x 8 patches are their own 64 features; noise has a closed form there."""
    count = 900

    def patches(sigma: float | None = None) -> list[np.ndarray]:
        """(N, 64) of each mode, at the same places whatever the blur."""
        rng = np.random.default_rng(0)
        seen = [region if sigma is None else cv2.GaussianBlur(region, (0, 0), sigma) for region in regions()]
        return [cut(region, 8, 4, rng).mean(-1, dtype=np.float64).reshape(-1, 64) for region in seen]

    def second(modes: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([mode[count : 2 * count] for mode in modes])

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return frechet_distance(moments(a), moments(b))

    modes, rng = patches(), np.random.default_rng(1)
    real, held_out = np.concatenate([mode[:count] for mode in modes]), second(modes)
    worse = {
        "blur": [second(patches(sigma)) for sigma in BLUR],
        "noise": [held_out + rng.normal(0, std, held_out.shape) for std in NOISE],
        "modes": [fewer_modes(modes, count, count, kept) for kept in (3, 2, 1)],
    }
    check(real, held_out, worse, distance, gap=2)
    # Independent noise adds its variance to every eigenvalue of the covariance and moves no mean.
    eigenvalues = np.linalg.eigvalsh(np.cov(real.T))
    for std in NOISE:
        expected = ((np.sqrt(eigenvalues + std**2) - np.sqrt(eigenvalues)) ** 2).sum()
        assert distance(real + rng.normal(0, std, real.shape), real) == pytest.approx(expected, rel=0.02)
