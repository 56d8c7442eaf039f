"""Samplers with exact optimal denoisers of Gaussian data: no network, theory on the other side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import ReverseSchedule, ancestral, ddim, dpmpp_2m, guided, renoise_and_resample
from cdm_kedro.diffusion.schedules import inference_alphas_cumprod, make_betas

N, MEAN, SD = 40_000, 0.3, 0.5


def gaussian_eps(level: Tensor, x: Tensor, mean: float | Tensor = MEAN, sd: float = SD) -> Tensor:
    """E[eps | x] for data N(mean, sd^2) at sqrt(abar) = level."""
    var = level**2 * sd**2 + 1 - level**2
    return (1 - level**2).sqrt() * (x - level * mean) / var


def noise_source(seed: int, shape: tuple[int, ...]):
    return lambda i: torch.randn(shape, generator=torch.Generator().manual_seed(seed * 100_003 + i))


def check(x: Tensor, mean: float = MEAN, sd: float = SD, slack: float = 0.0) -> None:
    assert abs(float(x.mean()) - mean) < 5 * sd / len(x) ** 0.5 + slack
    assert abs(float(x.std()) - sd) < 5 * sd / (2 * len(x)) ** 0.5 + slack


def timestep_model(process: DiffusionProcess):
    def model(x: Tensor, cond: Tensor) -> Tensor:
        level = process.alphas_cumprod[cond.long()].sqrt().float()[:, None, None, None]
        return gaussian_eps(level, x)

    return model


def continuous_model(x: Tensor, cond: Tensor) -> Tensor:
    return gaussian_eps(cond[:, None, None, None], x)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_full(variance: str) -> None:
    process = DiffusionProcess(make_betas("cosine", 400))
    shape = (N, 1, 1, 1)
    x = ancestral(
        timestep_model(process),
        noise_source(1, shape)(10**4),
        ReverseSchedule.respaced(process),
        noise_source(2, shape),
        clip_x_start=False,
        variance=variance,
    )
    check(x, slack=0.01)


def test_ancestral_with_the_optimal_learned_variance_is_exact_when_respaced() -> None:
    """With the true posterior variance even 10 steps give the data's variance; fixed small variances do not."""
    process = DiffusionProcess(make_betas("cosine", 400))
    schedule = ReverseSchedule.respaced(process, 10)
    lookup = {int(t): i for i, t in enumerate(schedule.timesteps)}
    base = timestep_model(process)

    def model(x: Tensor, cond: Tensor) -> Tensor:
        i = lookup[int(cond[0])]
        now, prev = schedule.alphas_cumprod[i], schedule.alphas_cumprod_prev[i]
        beta = 1 - now / prev
        tilde = beta * (1 - prev) / (1 - now)
        # Var[x_prev | x] = tilde + coefficient^2 Var[x0 | x]
        var_x0 = SD**2 * (1 - now) / (now * SD**2 + 1 - now)
        optimal = tilde + (beta * prev.sqrt() / (1 - now)) ** 2 * var_x0
        v = torch.tensor(0.0) if prev == 1 else 2 * (optimal.log() - tilde.log()) / (beta.log() - tilde.log()) - 1
        eps = base(x, cond)
        return torch.cat((eps, torch.full_like(eps, float(v))), 1)

    shape = (N, 1, 1, 1)
    learned = ancestral(model, noise_source(1, shape)(10**4), schedule, noise_source(2, shape), clip_x_start=False)
    fixed = ancestral(base, noise_source(1, shape)(10**4), schedule, noise_source(2, shape), clip_x_start=False)
    # The last step returns the mean of x0, so only its own uncertainty is missing from the learned one.
    last = schedule.alphas_cumprod[-1]
    missing = SD**2 * (1 - last) / (last * SD**2 + 1 - last)
    check(learned, sd=float((SD**2 - missing).sqrt()))
    assert float(fixed.std()) < 0.97 * float(learned.std())


@pytest.mark.parametrize("schedule", ["linear", "quadratic", "log", "cosine"])
def test_ancestral_at_continuous_levels(schedule: str) -> None:
    shape = (N, 1, 1, 1)
    levels = ReverseSchedule.continuous(inference_alphas_cumprod(schedule, 300, 1e-4, 0.06))
    x = ancestral(continuous_model, noise_source(1, shape)(10**4), levels, noise_source(2, shape), clip_x_start=False)
    check(x, slack=0.01)


def test_ddim_is_deterministic_and_its_eta_one_is_ancestral() -> None:
    process = DiffusionProcess(make_betas("cosine", 400))
    shape = (N, 1, 1, 1)
    start, schedule = noise_source(1, shape)(10**4), ReverseSchedule.respaced(process, 100)
    model = timestep_model(process)
    a, b = (ddim(model, start, schedule, noise_source(seed, shape), clip_x_start=False) for seed in (2, 3))
    assert torch.equal(a, b)
    check(a, slack=0.01)
    # Equation 16 at eta 1 has the variance beta-tilde and the DDPM mean.
    one = ddim(model, start, schedule, noise_source(2, shape), clip_x_start=False, eta=1.0)
    torch.testing.assert_close(
        one, ancestral(model, start, schedule, noise_source(2, shape), clip_x_start=False), atol=2e-4, rtol=1e-3
    )


def test_dpmpp_2m_follows_the_exact_flow_at_second_order() -> None:
    """The probability flow of Gaussian data is known: x at level a maps to mean + sd * (x - a mean) / sqrt(var_a)."""
    process = DiffusionProcess(make_betas("cosine", 1000))
    start = torch.randn(500, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    first = process.alphas_cumprod[-1].sqrt()
    exact = MEAN + SD * (start - first * MEAN) / (first**2 * SD**2 + 1 - first**2).sqrt()
    errors = {}
    for steps in (40, 80):
        schedule = ReverseSchedule.respaced(process, steps)
        for name, sampler in (("ddim", ddim), ("dpmpp", dpmpp_2m)):
            x = sampler(timestep_model(process), start, schedule, noise_source(0, (1,)), clip_x_start=False)
            errors[name, steps] = float((x - exact).abs().mean())
    # DDIM is of first order, DPM-Solver++(2M) of second: halving the step divides the error by 2 and by 4.
    assert errors["ddim", 40] / errors["ddim", 80] == pytest.approx(2, rel=0.15)
    assert errors["dpmpp", 40] / errors["dpmpp", 80] == pytest.approx(4, rel=0.15)
    assert errors["dpmpp", 80] < errors["ddim", 80] / 2


def test_clipping_bounds_the_prediction() -> None:
    process = DiffusionProcess(make_betas("cosine", 50))

    def wild(x: Tensor, cond: Tensor) -> Tensor:
        return -100 * torch.ones_like(x)

    x = ancestral(wild, torch.randn(4, 1, 1, 1), ReverseSchedule.respaced(process, 5), noise_source(0, (4, 1, 1, 1)))
    assert torch.equal(x, torch.ones_like(x))  # the last step returns the clipped x_start


def test_schedule_visits_and_refuses() -> None:
    process = DiffusionProcess(make_betas("cosine", 1000))
    schedule = ReverseSchedule.respaced(process, 10, visit=[100, 333])
    assert len(schedule) == 10 and {0, 100, 333, 999} <= set(schedule.timesteps)
    assert schedule.timesteps == tuple(sorted(schedule.timesteps, reverse=True))
    assert torch.equal(schedule.alphas_cumprod, process.alphas_cumprod[list(schedule.timesteps)])  # the marginals stay
    assert len(ReverseSchedule.respaced(process)) == 1000
    with pytest.raises(ValueError, match="choose 1 to 1000"):
        ReverseSchedule.respaced(process, 1001)
    with pytest.raises(ValueError, match="outside"):
        ReverseSchedule.respaced(process, 10, visit=[1000])


def test_more_sampling_steps_keeps_the_distribution() -> None:
    process = DiffusionProcess(make_betas("cosine", 200))
    shape = (N, 1, 1, 1)
    g = torch.Generator().manual_seed(5)
    samples = MEAN + SD * torch.randn(shape, generator=g)
    again = renoise_and_resample(
        timestep_model(process),
        samples,
        process,
        ReverseSchedule.respaced(process),
        100,
        torch.randn(shape, generator=g),
        noise_source(3, shape),
        clip_x_start=False,
    )
    check(again, slack=0.01)
    # correlated with where it came from, as half of the noise levels were kept
    assert 0.05 < float(torch.corrcoef(torch.stack((samples.flatten(), again.flatten())))[0, 1]) < 0.95
    with pytest.raises(ValueError, match="does not visit"):
        renoise_and_resample(
            timestep_model(process),
            samples,
            process,
            ReverseSchedule.respaced(process, 3),
            7,
            samples,
            noise_source(0, shape),
        )


def test_guidance_at_one_is_the_conditional_model_and_extrapolates() -> None:
    one, two = guided(lambda x, c: x * 2, lambda x, c: x, 1.0), guided(lambda x, c: x * 2, lambda x, c: x, 3.0)
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(one(x, torch.zeros(2)), 2 * x)
    torch.testing.assert_close(two(x, torch.zeros(2)), 4 * x)
