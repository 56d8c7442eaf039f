"""Tables, losses and the bound at both ends of T = 4000, against 50-digit arithmetic and float64 SciPy."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from cdm_kedro.diffusion.losses import hybrid_loss
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas

T = 4000
ENDS = [0, 1, 2, 3997, 3998, 3999]


@pytest.fixture(scope="module", params=["cosine", "linear"])
def schedule(request: pytest.FixtureRequest) -> tuple[str, list[mpmath.mpf], list[mpmath.mpf]]:
    """Name, betas and alphas_cumprod to 50 digits."""
    with mpmath.workdps(50):
        if request.param == "linear":
            ends = [mpmath.mpf(s) * 1000 / T for s in ("0.0001", "0.02")]
            betas = [ends[0] + (ends[1] - ends[0]) * i / (T - 1) for i in range(T)]
        else:
            offset = mpmath.mpf("0.008")
            f = [mpmath.cos((mpmath.mpf(i) / T + offset) / (1 + offset) * mpmath.pi / 2) ** 2 for i in range(T + 1)]
            betas = [min(1 - f[i + 1] / f[i], mpmath.mpf("0.999")) for i in range(T)]
        product, abar = mpmath.mpf(1), []
        for beta in betas:
            product *= 1 - beta
            abar.append(product)
    return request.param, betas, abar


def test_tables(schedule: tuple[str, list[mpmath.mpf], list[mpmath.mpf]]) -> None:
    name, betas, abar = schedule
    process = DiffusionProcess(make_betas(name, T))
    with mpmath.workdps(50):
        for t in ENDS:
            a, b, before = abar[t], betas[t], abar[t - 1] if t else mpmath.mpf(1)
            # beta-tilde is 0 at t = 0; its log is that of the next one (Improved DDPM).
            i = max(t, 1)
            clipped = betas[i] * (1 - abar[i - 1]) / (1 - abar[i])
            expected = {
                "sqrt_alphas_cumprod": mpmath.sqrt(a),
                "sqrt_one_minus_alphas_cumprod": mpmath.sqrt(1 - a),
                "sqrt_recip_alphas_cumprod": 1 / mpmath.sqrt(a),
                "sqrt_recipm1_alphas_cumprod": mpmath.sqrt(1 / a - 1),
                "posterior_coef_x_start": b * mpmath.sqrt(before) / (1 - a),
                "posterior_coef_x_t": (1 - before) * mpmath.sqrt(1 - b) / (1 - a),
                "log_betas": mpmath.log(b),
                "posterior_log_variance": mpmath.log(clipped),
            }
            assert process._tables.keys() == expected.keys()
            for key, value in expected.items():
                assert process._tables[key].dtype == torch.float64
                assert float(process._tables[key][t]) == pytest.approx(float(value), rel=1e-9, abs=1e-15), (key, t)
                single = process.table(key, torch.tensor([t]))
                assert single.dtype == torch.float32
                assert float(single) == pytest.approx(float(value), rel=2e-7, abs=1e-12), (key, t)


@pytest.mark.parametrize("t", [0, 1, 3998, 3999])
def test_hybrid_loss(schedule: tuple[str, list[mpmath.mpf], list[mpmath.mpf]], t: int) -> None:
    """L_simple + 0.001 T L_{t-1} in bits, where the decoder's term stands at t = 0."""
    name = schedule[0]
    beta, a = (float(table[t]) for table in schedule[1:])
    before = float(schedule[2][t - 1]) if t else 1.0
    second = float(schedule[1][1] * (1 - schedule[2][0]) / (1 - schedule[2][1]))
    tilde = beta * (1 - before) / (1 - a) if t else second
    rng = np.random.default_rng(t)
    x0 = rng.integers(0, 256, (2, 3, 4, 4)) / 127.5 - 1
    noise = rng.standard_normal(x0.shape)
    eps, v = noise + 0.2 * rng.standard_normal(x0.shape), rng.uniform(-1, 1, x0.shape)
    xt = math.sqrt(a) * x0 + math.sqrt(1 - a) * noise
    guess = (xt - math.sqrt(1 - a) * eps) / math.sqrt(a)
    on_x0, on_xt = beta * math.sqrt(before) / (1 - a), (1 - before) * math.sqrt(1 - beta) / (1 - a)
    mean, true = on_x0 * guess + on_xt * xt, on_x0 * x0 + on_xt * xt
    log_variance = (v + 1) / 2 * math.log(beta) + (1 - v) / 2 * math.log(tilde)
    if t == 0:
        sd = np.exp(log_variance / 2)
        upper = np.where(x0 > 0.999, np.inf, (x0 - mean + 1 / 255) / sd)
        lower = np.where(x0 < -0.999, -np.inf, (x0 - mean - 1 / 255) / sd)
        term = -np.log(stats.norm.cdf(upper) - stats.norm.cdf(lower))
    else:
        variance = np.exp(log_variance)
        term = 0.5 * (log_variance - math.log(tilde) - 1 + tilde / variance + (mean - true) ** 2 / variance)
    bits = term.mean((1, 2, 3)) / math.log(2)
    simple = ((eps - noise) ** 2).mean((1, 2, 3))
    single = [torch.from_numpy(array).float() for array in (np.concatenate((eps, v), 1), x0, xt, noise)]
    process = DiffusionProcess(make_betas(name, T))
    loss, mse, got = hybrid_loss(process, *single[:3], torch.full((2,), t), single[3])
    np.testing.assert_allclose(mse.numpy(), simple, rtol=1e-5)
    # At t = T - 1 of the cosine schedule x_0 is a difference of numbers 2e4 times as large, in float32.
    np.testing.assert_allclose(got.numpy(), bits, rtol=2e-4)
    np.testing.assert_allclose(loss.numpy(), simple + 0.001 * T * bits, rtol=2e-4)
