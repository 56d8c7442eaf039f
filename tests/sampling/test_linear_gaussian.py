"""A linear-Gaussian two-stage cascade through the real one: files, schedules, 8-bit samples, noise, s, truncation.

Only the networks are replaced, by the exact conditional means and variances of the data that they would learn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.weights import write_weights
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.sampling.cascade import Cascade

T, N = 60, 1000
VAR_Z, GAIN, VAR_E = 0.04, 0.8, 0.01  # z_0 pixels; x_0 = GAIN z_0 + e at every other pixel, e elsewhere
ROUNDING = 1 / 12 / 127.5**2  # variance that 8-bit storage adds
LOW: dict[str, Any] = {
    "resolution": 4,
    "unet": {"channels": 8, "channel_mult": [1], "num_res_blocks": 1, "class_cond": False},
    "diffusion": {"timesteps": T, "schedule": "cosine", "learned_variances": True},
    "training": {"steps": 1, "batch_size": 1},
}
HIGH: dict[str, Any] = {
    **LOW,
    "resolution": 8,
    "low": "low",
    "low_resolution": 4,
    "augmentation": {"kind": "gaussian", "timesteps": T, "schedule": "cosine"},
}


def abar() -> Tensor:
    """(T + 1,) float64, from clean: the cosine schedule from its definition, beta at most 0.999."""
    f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * torch.pi / 2) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return torch.cat((torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)))


def optimal(x: Tensor, t: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """E[eps | x_t], and the v that gives Var(x_{t-1} | x_t), for pixels that are independent N(mean, variance)."""
    now, before = (abar()[t + i][:, None, None, None] for i in (1, 0))
    beta = 1 - now / before
    total = now * variance + 1 - now
    eps = (1 - now).sqrt() * (x.double() - now.sqrt() * mean) / total
    wanted = ((before * variance + 1 - before) * beta / total).log()
    tilde = beta * (1 - before) / (1 - now)
    v = torch.where(tilde > 0, 2 * (wanted - tilde.log()) / (beta.log() - tilde.log()) - 1, 0.0)
    return torch.cat((eps, v.expand_as(eps)), 1).float()


def low_net(x: Tensor, cond: Tensor, y: None, low: None, level: None) -> Tensor:
    return optimal(x, cond.long(), torch.zeros_like(x).double(), torch.full_like(x, VAR_Z).double())


def high_net(x: Tensor, cond: Tensor, y: None, low: Tensor, level: Tensor) -> Tensor:
    """It knows z_s and s only as it is told."""
    a2 = abar()[level.long()][:, None, None, None]
    known = a2 * VAR_Z / (a2 * VAR_Z + 1 - a2)
    mean, variance = torch.zeros_like(x).double(), torch.full_like(x, VAR_E).double()
    mean[..., ::2, ::2] = GAIN * known / a2.sqrt() * low.double()
    variance[..., ::2, ::2] += GAIN**2 * VAR_Z * (1 - known)
    return optimal(x, cond.long(), mean, variance)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = {}
    for name, raw in {"low": LOW, "high": HIGH}.items():
        params = TrainedModelParams.model_validate(raw)
        out[name] = tmp_path_factory.mktemp("linear") / f"{name}.safetensors"
        description = {"stage": name, "num_classes": "1", "params": params.model_dump_json()}
        write_weights(out[name], build_unet(params, 1).state_dict(), description)
    return out


@pytest.mark.parametrize(("s", "truncated"), [(0, False), (5, False), (5, True), (25, False), (25, True)])
def test_covariance_of_the_samples_is_that_of_theory(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, s: int, truncated: bool
) -> None:
    stages = {"low": {"clip_x_start": False}, "high": {"clip_x_start": False, "s": s, "truncated": truncated}}
    params = SampleParams.model_validate({"num_samples": N, "batch_size": N, "precision": "fp32", "stages": stages})
    cascade = Cascade.from_files(models, params, torch.device("cpu"))
    exact: dict[str, Callable[..., Tensor]] = {"low": low_net, "high": high_net}
    for stage in cascade.models:
        monkeypatch.setattr(stage.net, "forward", exact[stage.name])
    made = cascade.sample(torch.zeros(N, dtype=torch.int64), torch.arange(N), 7)
    z, x = (images.double() / 127.5 - 1 for images in made.values())
    assert z.shape == (N, 3, 4, 4) and x.shape == (N, 3, 8, 8)

    first = abar()[1]

    def returned(variance: Tensor | float) -> Tensor:
        """The last step returns the mean of x_0 given x_1, whose variance is smaller; then 8 bits."""
        return first * variance**2 / (first * variance + 1 - first) + ROUNDING

    var_z = returned(VAR_Z)
    a2 = abar()[s]
    known = a2 * VAR_Z / (a2 * VAR_Z + 1 - a2)
    # Truncation takes the chain's own z_s; else finished z_0, a little narrower than the data, is noised again.
    var_zs, cov_zs = (a2 * VAR_Z + 1 - a2, a2.sqrt() * VAR_Z) if truncated else (a2 * var_z + 1 - a2, a2.sqrt() * var_z)
    slope = GAIN * known / a2.sqrt()
    left = GAIN**2 * VAR_Z * (1 - known) + VAR_E
    shrink = first * left / (first * left + 1 - first)
    on, off = x[..., ::2, ::2], x[..., 1::2, 1::2]
    error = 5 / (z.numel() / 2) ** 0.5  # of a variance, relative, at five standard errors
    for pixels in (z, on, off):
        assert float(pixels.mean()) == pytest.approx(0, abs=5 * float(pixels.std()) / pixels.numel() ** 0.5)
    assert z.var() == pytest.approx(float(var_z), rel=error)
    assert off.var() == pytest.approx(float(returned(VAR_E)), rel=error)
    # What the mean of x_0 given x_1 keeps of the conditional mean is all of it: only the spread around it shrinks.
    assert on.var() == pytest.approx(float(slope**2 * var_zs + left * shrink + ROUNDING), rel=error)
    cov = float(slope * cov_zs)
    noise = 5 * float((on.var() * z.var() + cov**2) / z.numel()) ** 0.5
    assert float((on * z).mean() - on.mean() * z.mean()) == pytest.approx(cov, abs=noise)
    assert float((off * z).mean()) == pytest.approx(0, abs=5 * float((off.var() * z.var()) / z.numel()) ** 0.5)
    # Precise enough to see s off by one.
    next_ = abar()[s + 1] * VAR_Z / (abar()[s + 1] * VAR_Z + 1 - abar()[s + 1])
    assert abs(float(next_ / known) - 1) * cov > noise or s != 5
