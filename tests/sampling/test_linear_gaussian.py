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

from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
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
FIXED: dict[str, Any] = {
    **LOW,
    "resolution": 8,
    "low": "low",
    "low_resolution": 4,
    "diffusion": {"timesteps": T, "schedule": "linear", "noise_conditioning": "continuous"},
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
    for name, raw in {"low": LOW, "high": HIGH, "fixed": FIXED}.items():
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
    cascade = Cascade.from_files({name: models[name] for name in stages}, params, torch.device("cpu"))
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


def fixed_net(x: Tensor, cond: Tensor, y: None, low: Tensor, level: None) -> Tensor:
    """E[eps | x_t] for x_0 given z_0: VAR_E around GAIN z_0 at every other pixel, and around 0 elsewhere."""
    now = cond.double().square()[:, None, None, None]
    mean = torch.zeros_like(x).double()
    mean[..., ::2, ::2] = GAIN * low.double()
    return ((1 - now).sqrt() * (x.double() - now.sqrt() * mean) / (now * VAR_E + 1 - now)).float()


def sr3_chain(gammas: list[float], data: float, variance: str) -> tuple[float, float]:
    """Saharia et al. 2021, algorithm 2, as an affine map of N(mean, spread), with the exact eps as a function of y.

    Args:
        gammas: alphas_cumprod, from the cleanest level.
        data: variance of the data.
        variance: "large" as there, or "small", beta-tilde.

    Returns:
        Mean of the samples in units of the data's, and their variance.
    """
    mean, spread = 0.0, 1.0
    for now, before in zip(gammas[::-1], [*gammas[-2::-1], 1.0], strict=True):
        alpha, beta = now / before, 1 - now / before
        slope = beta / (now * data + 1 - now)
        mean = (mean - slope * (mean - now**0.5)) / alpha**0.5
        sigma_2 = {"small": beta * (1 - before) / (1 - now), "large": beta}[variance] if before < 1 else 0.0
        spread = spread * (1 - slope) ** 2 / alpha + sigma_2
    return mean, spread


def test_fixed_variances_give_the_spread_of_sr3s_algorithm_and_large_ones_come_nearer_to_the_data(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Appendix B's models at 128 and 256 pixels: linear, continuous levels, variances not learned, few steps."""
    steps, samples, predicted = 20, 2 * N, {}
    for variance in ("small", "large"):
        high = {"clip_x_start": False, "steps": steps, "schedule": "linear", "beta_end": 0.5, "beta_start": 0.01}
        stages = {"low": {"clip_x_start": False, "steps": 4}, "fixed": {**high, "variance": variance}}
        params = SampleParams.model_validate(
            {"num_samples": samples, "batch_size": samples, "precision": "fp32", "stages": stages}
        )
        cascade = Cascade.from_files({name: models[name] for name in stages}, params, torch.device("cpu"))
        for stage in cascade.models:
            monkeypatch.setattr(stage.net, "forward", {"low": low_net, "fixed": fixed_net}[stage.name])
        made = cascade.sample(torch.zeros(samples, dtype=torch.int64), torch.arange(samples), 7)
        z, x = (images.double() / 127.5 - 1 for images in made.values())

        gammas = (1 - torch.linspace(0.01, 0.5, steps, dtype=torch.float64)).cumprod(0).tolist()
        mean, spread = sr3_chain(gammas, VAR_E, variance)
        predicted[variance] = spread
        on, off = x[..., ::2, ::2], x[..., 1::2, 1::2]
        error = 5 * (2 / off.numel()) ** 0.5
        assert off.var() == pytest.approx(spread + ROUNDING, rel=error)
        assert (on - mean * GAIN * z).var() == pytest.approx(spread + ROUNDING, rel=error)
        error = 5 * (spread / float(z.var()) / z.numel()) ** 0.5
        assert float((on * z).mean() / (z * z).mean()) == pytest.approx(mean * GAIN, abs=error)
    ratio = {variance: (spread / VAR_E) ** 0.5 for variance, spread in predicted.items()}
    assert abs(ratio["large"] - 1) < abs(ratio["small"] - 1) / 2, ratio


@pytest.mark.parametrize(
    ("std", "small", "large"), [(0.02, 0.49, 0.87), (0.05, 0.70, 1.10), (0.1, 0.80, 1.08), (0.2, 0.88, 1.05)]
)
def test_the_spread_that_the_papers_100_steps_keep(std: float, small: float, large: float) -> None:
    """The numbers of docs/paper.md: Appendix B's linear schedule of 100 steps, from 1.0e-3 to 0.188."""
    gammas = (1 - torch.linspace(1e-3, 0.1876, 100, dtype=torch.float64)).cumprod(0).tolist()
    for variance, ratio in (("small", small), ("large", large)):
        assert (sr3_chain(gammas, std**2, variance)[1]) ** 0.5 / std == pytest.approx(ratio, abs=0.005)
