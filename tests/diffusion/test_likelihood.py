"""The bound of models whose reverse process is exact must equal the data's entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cdm_kedro.diffusion.likelihood import bound_bits, prior_bits, term_bits, truncated_cascade_bits
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas

VARIANCE = 0.09  # small enough that 8-bit clipping at +-1 is rare
ENTROPY = 0.5 * math.log2(2 * math.pi * math.e * VARIANCE) + math.log2(127.5)


def pixels(*shape: int, seed: int) -> Tensor:
    x = VARIANCE**0.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return ((x * 127.5 + 127.5).round().clamp(0, 255) - 127.5) / 127.5


def exact(process: DiffusionProcess, mean0: Tensor | float = 0.0, variance0: Tensor | float = VARIANCE):  # type: ignore[no-untyped-def]
    """The optimal eps and v when x_0 is N(mean0, variance0) elementwise."""

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        ab = process.alphas_cumprod[t].view(-1, 1, 1, 1)
        before = process.alphas_cumprod_prev[t].view(-1, 1, 1, 1)
        beta = process.betas[t].view(-1, 1, 1, 1)
        total = ab * variance0 + 1 - ab
        eps = (1 - ab).sqrt() * (x_t.double() - ab.sqrt() * mean0) / total
        # Var(x_{t-1} | x_t) of jointly Gaussian x_{t-1}, x_t.
        prior = before * variance0 + 1 - before
        wanted = (prior * beta / total).log().expand_as(eps)
        low = process.posterior_log_variance[t].view(-1, 1, 1, 1)
        v = 2 * (wanted - low) / (beta.log() - low) - 1
        v = torch.where(t.view(-1, 1, 1, 1) == 0, torch.ones_like(v), v)
        return torch.cat((eps, v), 1).float()

    return model


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_bound_of_the_exact_model_is_the_entropy(schedule: str) -> None:
    process = DiffusionProcess(make_betas(schedule, 400))
    x = pixels(512, 3, 4, 4, seed=0)
    generator = torch.Generator().manual_seed(1)
    bits = bound_bits(
        exact(process),
        process,
        x,
        lambda k: torch.randn(x.shape, generator=generator),
        torch.rand(200, len(x), generator=generator),
        clip_x_start=False,
    )
    error = float(bits.std()) / len(x) ** 0.5
    assert error < 0.05
    assert float(bits.mean()) == pytest.approx(ENTROPY, abs=4 * error + 0.01)


def test_strata_cover_every_index_once_when_there_are_as_many() -> None:
    process = DiffusionProcess(make_betas("cosine", 30))
    x = pixels(4, 3, 2, 2, seed=0)
    fixed = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    model = exact(process)
    every = prior_bits(process, x)
    for t in range(30):
        every = every + term_bits(model, process, x, torch.full((4,), t), fixed, False)
    got = bound_bits(model, process, x, lambda k: fixed, torch.full((29, 4), 0.5), clip_x_start=False)
    torch.testing.assert_close(got, every, rtol=1e-5, atol=1e-5)
    part = bound_bits(model, process, x, lambda k: fixed, torch.full((20, 4), 0.5), first=10, clip_x_start=False)
    upper = prior_bits(process, x)
    for t in range(10, 30):
        upper = upper + term_bits(model, process, x, torch.full((4,), t), fixed, False)
    torch.testing.assert_close(part, upper, rtol=1e-5, atol=1e-5)


def test_prior_term_is_the_closed_form() -> None:
    process = DiffusionProcess(make_betas("linear", 1000))
    x = pixels(3, 3, 2, 2, seed=2)
    ab = float(process.alphas_cumprod[-1])
    expected = 0.5 * (ab * x.double() ** 2 + (1 - ab) - 1 - math.log(1 - ab)).flatten(1).mean(1) / math.log(2)
    torch.testing.assert_close(prior_bits(process, x).double(), expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("s", [1, 40, 200])
def test_truncated_cascade_reaches_the_same_entropy_for_every_s(s: int) -> None:
    """x_0 is two columns, z_0 the left one; with exact models equation 3 is tight, however much of z is cut away."""
    low, high = DiffusionProcess(make_betas("cosine", 300)), DiffusionProcess(make_betas("linear", 300, 1e-4, 0.02))
    x = pixels(512, 3, 4, 2, seed=3)
    z = x[..., :1]
    generator = torch.Generator().manual_seed(4)

    def noise(like: Tensor):  # type: ignore[no-untyped-def]
        return lambda k: torch.randn(like.shape, generator=generator)

    uniforms = torch.rand(2, 200, len(x), generator=generator)
    low_part = bound_bits(exact(low), low, z, noise(z), uniforms[0], first=s, clip_x_start=False)
    ab = low.alphas_cumprod[s - 1]
    z_s = low.q_sample(z, torch.full((len(z),), s - 1), torch.randn(z.shape, generator=generator)).double()
    total = ab * VARIANCE + 1 - ab
    mean = torch.cat((ab.sqrt() * VARIANCE / total * z_s, torch.zeros_like(z_s)), 3)
    variance = torch.tensor([float(VARIANCE * (1 - ab) / total), VARIANCE], dtype=torch.float64)
    given = exact(high, mean, variance)
    bits = truncated_cascade_bits(
        low_part, bound_bits(given, high, x, noise(x), uniforms[1], clip_x_start=False), z[0].numel(), x[0].numel()
    )
    error = float(bits.std()) / len(x) ** 0.5
    assert error < 0.05
    # At s = 1 the left column given z_s is far narrower than a pixel's bin, where a Gaussian is no longer 8-bit data.
    assert float(bits.mean()) == pytest.approx(ENTROPY, abs=4 * error + (0.02 if s > 1 else 0.35))
