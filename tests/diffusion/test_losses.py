"""Losses against SciPy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cdm_kedro.diffusion.losses import discretized_gaussian_log_likelihood, hybrid_loss, normal_kl, vlb_terms
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas


def test_kl_against_numerical_integration() -> None:
    grid = np.linspace(-30, 30, 2_000_001)
    p, q = stats.norm(0.4, math.exp(-0.3)), stats.norm(-0.2, math.exp(0.2))
    expected = np.sum(p.pdf(grid) * (p.logpdf(grid) - q.logpdf(grid))) * (grid[1] - grid[0])
    got = normal_kl(torch.tensor(0.4), torch.tensor(-0.6), torch.tensor(-0.2), torch.tensor(0.4))
    assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("log_std", [-5.0, -2.0, 0.0])
def test_decoder_likelihood_is_the_scipy_bin_probability_and_sums_to_one(log_std: float) -> None:
    pixels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    mean = torch.full((256,), 0.123, dtype=torch.float64)
    got = discretized_gaussian_log_likelihood(pixels, mean, torch.full_like(mean, log_std))
    assert float(got.exp().sum()) == pytest.approx(1.0, abs=1e-9)
    d = stats.norm(0.123, math.exp(log_std))
    edges = np.concatenate(([-np.inf], pixels.numpy()[:-1] + 1 / 255, [np.inf]))
    expected = np.diff(d.cdf(edges))
    big = expected > 1e-12
    np.testing.assert_allclose(got.exp().numpy()[big], expected[big], rtol=1e-3)
    assert torch.isfinite(got).all()


def test_vlb_terms_vanish_for_the_true_posterior() -> None:
    process = DiffusionProcess(make_betas("cosine", 30))
    g = torch.Generator().manual_seed(0)
    x0 = torch.rand(30, 3, 4, 4, generator=g) * 2 - 1
    t = torch.arange(30)
    xt = process.q_sample(x0, t, torch.randn(x0.shape, generator=g))
    mean = process.posterior_mean(x0, xt, t)
    terms = vlb_terms(process, x0, xt, t, mean, process.table("posterior_log_variance", t).expand_as(mean))
    assert terms[1:].abs().max() < 1e-5
    assert terms[0] != 0  # the decoder's


def test_hybrid_loss_trains_only_variances_through_the_bound() -> None:
    process = DiffusionProcess(make_betas("cosine", 30))
    g = torch.Generator().manual_seed(0)
    x0, noise = (torch.rand(8, 3, 4, 4, generator=g) * 2 - 1).round(decimals=1), torch.randn(8, 3, 4, 4, generator=g)
    t = torch.randint(30, (8,), generator=g)
    xt = process.q_sample(x0, t, noise)
    output = torch.cat((noise + 0.1, torch.zeros_like(noise)), 1).requires_grad_()
    loss, mse, term = hybrid_loss(process, output, x0, xt, t, noise, vlb_weight=0.001)
    torch.testing.assert_close(loss, mse + 0.001 * 30 * term)
    torch.testing.assert_close(mse, torch.full((8,), 0.01))
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    eps_part = gradient[:, :3]
    torch.testing.assert_close(eps_part, torch.full_like(eps_part, 2 * 0.1 / 48))  # that of L_simple alone
    assert (gradient[:, 3:] != 0).any()
