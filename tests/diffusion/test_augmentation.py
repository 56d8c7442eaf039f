from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from cdm_kedro.diffusion.augmentation import (
    Augmentation,
    BlurConditioning,
    GaussianConditioning,
    gaussian_blur,
    truncated,
)
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas


def process() -> DiffusionProcess:
    return DiffusionProcess(make_betas("cosine", 100))


def test_amortized_s_is_uniform_over_all_levels_and_tells_the_truth() -> None:
    augmentation = GaussianConditioning(process(), max_s=9)
    g = torch.Generator().manual_seed(0)
    n = 5000
    low = torch.full((n, 3, 2, 2), 0.5)
    out, s = augmentation.train(low, torch.rand(n, 2, generator=g), torch.randn(low.shape, generator=g))
    assert s is not None and set(s.tolist()) == set(map(float, range(10)))
    assert stats.chisquare(np.bincount(s.long().numpy(), minlength=10)).pvalue > 1e-4
    assert torch.equal(out[s == 0], low[s == 0])
    for level in (1, 9):
        a = float(process().alphas_cumprod[level - 1])
        chosen = out[s == level]
        assert float(chosen.mean()) == pytest.approx(math.sqrt(a) * 0.5, abs=5 * math.sqrt((1 - a) / chosen.numel()))
        assert float(chosen.std()) == pytest.approx(math.sqrt(1 - a), rel=0.06)


def test_fixed_s_and_inference_use_the_same_level() -> None:
    low, noise = torch.rand(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    trained, s = GaussianConditioning(process(), s=30).train(low, torch.rand(4, 2), noise)
    sampled, again = GaussianConditioning(process()).sample(low, 30, noise)
    assert torch.equal(trained, sampled) and torch.equal(s, again)  # type: ignore[arg-type]


def test_s_equal_to_T_is_noise() -> None:
    low, noise = torch.ones(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    out, _ = GaussianConditioning(process()).sample(low, 100, noise)
    torch.testing.assert_close(out, noise, atol=0.02, rtol=0)


def test_models_that_never_saw_noise_refuse_s() -> None:
    low = torch.zeros(1, 3, 2, 2)
    for augmentation in (Augmentation(), BlurConditioning(0.4, 0.6)):
        assert augmentation.sample(low, 0, None)[0] is low
        with pytest.raises(ValueError, match="use s: 0"):
            augmentation.sample(low, 1, low)


def test_blur_against_scipy() -> None:
    images = torch.rand(3, 2, 9, 11, dtype=torch.float32)
    sigma = torch.tensor([0.4, 0.5, 0.6])
    got = gaussian_blur(images, sigma, 3)
    for i in range(3):
        w = np.exp(-0.5 * (np.array([-1, 0, 1]) / float(sigma[i])) ** 2)
        w /= w.sum()
        expected = ndimage.correlate1d(
            ndimage.correlate1d(images[i].numpy(), w, axis=1, mode="mirror"), w, axis=2, mode="mirror"
        )
        np.testing.assert_allclose(got[i].numpy(), expected, atol=1e-6)


def test_blur_touches_its_share_of_the_batch() -> None:
    g = torch.Generator().manual_seed(0)
    low = torch.rand(2000, 3, 4, 4, generator=g)
    out, level = BlurConditioning(0.4, 0.6, probability=0.5).train(low, torch.rand(2000, 2, generator=g), low)
    share = (out != low).flatten(1).any(1).float().mean()
    assert level is None and abs(float(share) - 0.5) < 0.05


def test_truncation_keeps_the_states_that_are_asked_for() -> None:
    """The state before the step at index t is z_{t + 1}."""
    states = {step: torch.full((1,), float(step)) for step in range(4)}

    def reverse(visit: Callable[[int, torch.Tensor], None]) -> torch.Tensor:
        for step, state in states.items():
            visit(step, state)
            state += 100  # a state that is kept is a copy
        return torch.full((1,), 9.0)

    z = truncated(reverse, [49, 29, 9, 0], {30, 10})
    assert {s: float(state) for s, state in z.items()} == {30: 1.0, 10: 2.0, 0: 9.0}
