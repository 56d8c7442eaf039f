"""Schedules and process against closed forms and independent float64 NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cdm_kedro.diffusion.process import DiffusionProcess, q_sample_at_level
from cdm_kedro.diffusion.schedules import cosine_betas, end_points, inference_alphas_cumprod, linear_betas, make_betas

CASES = [("cosine", 4000), ("linear", 2000), ("cosine", 50), ("linear", 1000)]


def numpy_betas(schedule: str, steps: int) -> np.ndarray:
    if schedule == "linear":
        return np.linspace(1e-4 * 1000 / steps, 0.02 * 1000 / steps, steps)
    f = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
    return np.array([min(1 - f[i + 1] / f[i], 0.999) for i in range(steps)])


@pytest.mark.parametrize(("schedule", "steps"), CASES)
def test_tables_against_numpy(schedule: str, steps: int) -> None:
    betas = numpy_betas(schedule, steps)
    process = DiffusionProcess(make_betas(schedule, steps))
    np.testing.assert_allclose(process.betas.numpy(), betas, rtol=1e-10)
    abar = np.cumprod(1 - betas)
    np.testing.assert_allclose(process.alphas_cumprod.numpy(), abar, rtol=1e-9)
    previous = np.append(1.0, abar[:-1])
    np.testing.assert_allclose(process.posterior_variance.numpy(), betas * (1 - previous) / (1 - abar), rtol=1e-9)


def test_known_values() -> None:
    assert cosine_betas(4000)[-1] == 0.999  # clipped
    linear = linear_betas(1000)
    assert linear[0] == pytest.approx(1e-4) and linear[-1] == pytest.approx(0.02)
    # sum of log(1 - beta) for DDPM's schedule: alphas_cumprod at the end is 4.04e-5 (Ho et al. 2020's code).
    assert DiffusionProcess(linear).alphas_cumprod[-1] == pytest.approx(4.0358e-5, rel=1e-3)
    with pytest.raises(ValueError, match="more steps"):
        linear_betas(10)
    with pytest.raises(ValueError, match="unknown"):
        make_betas("sigmoid", 10)


def test_marginal_by_chaining_steps() -> None:
    """q(x_t | x_0) in one jump equals chained single steps, by Monte Carlo with error bars."""
    process = DiffusionProcess(make_betas("cosine", 20))
    n, x0 = 200_000, 0.7
    generator = torch.Generator().manual_seed(0)
    x = torch.full((n,), x0, dtype=torch.float64)
    for t in range(12):
        beta = process.betas[t]
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn(n, generator=generator, dtype=torch.float64)
    jump = process.q_sample(torch.full((n, 1), x0), torch.full((n,), 11), torch.randn(n, 1, generator=generator))
    sd = float(x.std())
    assert abs(x.mean() - jump.mean()) < 5 * sd * math.sqrt(2 / n)
    assert abs(x.var() - jump.var()) < 5 * sd**2 * math.sqrt(4 / n)


@pytest.mark.parametrize("t", [1, 7, 19])
def test_posterior_by_bayes_on_a_grid(t: int) -> None:
    process = DiffusionProcess(make_betas("cosine", 20))
    x0, xt = 0.3, -0.4
    grid = np.linspace(-6, 6, 200_001)
    a_prev, beta = float(process.alphas_cumprod[t - 1]), float(process.betas[t])
    log_p = -((grid - math.sqrt(a_prev) * x0) ** 2) / (2 * (1 - a_prev)) - (xt - math.sqrt(1 - beta) * grid) ** 2 / (
        2 * beta
    )
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = (p * grid).sum()
    got = process.posterior_mean(torch.tensor([[x0]]), torch.tensor([[xt]]), torch.tensor([t]))
    assert float(got) == pytest.approx(mean, abs=2e-6)
    assert float(process.posterior_variance[t]) == pytest.approx((p * (grid - mean) ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("t", [0, 1, 2000, 3998, 3999])
def test_conversions_at_both_ends_of_4000(t: int) -> None:
    process = DiffusionProcess(make_betas("cosine", 4000))
    g = torch.Generator().manual_seed(t)
    x0, eps = torch.rand(4, 3, 5, 5, generator=g) * 2 - 1, torch.randn(4, 3, 5, 5, generator=g)
    ts = torch.full((4,), t)
    xt = process.q_sample(x0, ts, eps)
    a = process.alphas_cumprod[t]
    torch.testing.assert_close(
        xt.double(), a.sqrt() * x0.double() + (1 - a).sqrt() * eps.double(), atol=1e-6, rtol=1e-6
    )
    # float32 loses the image in the noise when sqrt(abar) is small: the error is that of x_t, amplified by its inverse.
    tolerance = 4e-7 * max(1.0, float(a.rsqrt())) * 4
    assert (process.x_start_from_eps(xt, ts, eps) - x0).abs().max() < tolerance
    mean = process.posterior_mean(x0, xt, ts)
    beta, before = process.betas[t], process.alphas_cumprod_prev[t]
    on_start, on_xt = before.sqrt() * beta / (1 - a), (1 - beta).sqrt() * (1 - before) / (1 - a)
    torch.testing.assert_close(mean.double(), on_start * x0.double() + on_xt * xt.double(), atol=1e-6, rtol=1e-6)
    if t == 0:
        torch.testing.assert_close(mean, x0)  # the posterior of the first step is the image itself


def test_learned_variance_interpolates_in_log() -> None:
    process = DiffusionProcess(make_betas("cosine", 100))
    t = torch.tensor([60])
    ends = [process.learned_log_variance(torch.full((1, 1, 1, 1), v), t).item() for v in (-1.0, 0.0, 1.0)]
    assert ends[0] == pytest.approx(math.log(process.posterior_variance[60]), rel=1e-6)
    assert ends[2] == pytest.approx(math.log(process.betas[60]), rel=1e-6)
    assert ends[1] == pytest.approx((ends[0] + ends[2]) / 2, rel=1e-6)


def test_continuous_levels_lie_between_neighbours() -> None:
    process = DiffusionProcess(make_betas("linear", 100))
    t = torch.arange(100)
    bounds = torch.cat((torch.ones(1, dtype=torch.float64), process.alphas_cumprod)).sqrt().float()
    for u in (0.0, 0.5, 0.999):
        level = process.draw_level(t, torch.full((100,), u))
        torch.testing.assert_close(level, bounds[:-1] + u * (bounds[1:] - bounds[:-1]))
    x0, noise = torch.ones(1, 1), torch.ones(1, 1)
    assert float(q_sample_at_level(x0, torch.tensor([0.6]), noise)) == pytest.approx(0.6 + 0.8)


@pytest.mark.parametrize("schedule", ["linear", "quadratic", "log", "cosine"])
def test_inference_schedules(schedule: str) -> None:
    levels = inference_alphas_cumprod(schedule, 30, 1e-4, 0.3)
    assert len(levels) == 30 and (levels.diff() < 0).all() and 0 < levels[-1] < levels[0] < 1
    betas = 1 - levels / torch.cat((torch.ones(1, dtype=torch.float64), levels[:-1]))
    if schedule != "cosine":
        assert betas[0] == pytest.approx(1e-4) and betas[-1] == pytest.approx(0.3)
    if schedule == "log":
        assert (betas[1:] / betas[:-1]).std() < 1e-9
    if schedule == "quadratic":
        assert betas.sqrt().diff().std() < 1e-12


@pytest.mark.parametrize(("trained", "timesteps"), CASES)
@pytest.mark.parametrize("schedule", ["linear", "quadratic", "log"])
def test_default_end_points_span_the_levels_of_training_at_any_number_of_steps(
    trained: str, timesteps: int, schedule: str
) -> None:
    betas = numpy_betas(trained, timesteps)
    abar = np.cumprod(1 - betas)
    for steps in (1, 2, 3, 10, 100, timesteps):
        first, last = end_points(schedule, steps, torch.from_numpy(abar))
        # As much noise as T / steps of training's first steps, multiplied out one after another where that is whole.
        if timesteps % steps == 0:
            assert 1 - first == pytest.approx(math.prod([1 - betas[0]] * (timesteps // steps)), rel=1e-12)
        levels = inference_alphas_cumprod(schedule, steps, first, last)
        assert len(levels) == steps and levels[-1] >= abar[-1]  # never beyond training
        # A beta near 1 cannot be written precisely: one unit in its last place moves the level.
        assert levels[-1] == pytest.approx(abar[-1], rel=1e-9 + 4e-16 / (1 - last))
    assert end_points(schedule, 10, torch.from_numpy(abar), 0.01, 0.3) == (0.01, 0.3)
    if trained == "linear" == schedule:  # all steps of training give its own end points back
        assert end_points(schedule, timesteps, torch.from_numpy(abar)) == pytest.approx((betas[0], betas[-1]), rel=1e-9)


def test_end_points_of_one_and_two_steps_in_closed_form() -> None:
    abar = torch.from_numpy(np.cumprod(1 - numpy_betas("linear", 2000)))
    for schedule in ("linear", "quadratic", "log"):
        assert end_points(schedule, 1, abar)[1] == pytest.approx(1 - float(abar[-1]))
        assert end_points(schedule, 2, abar, beta_start=0.2)[1] == pytest.approx(1 - float(abar[-1]) / 0.8)
