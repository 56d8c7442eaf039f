"""The bound of a cascade of untrained networks, which is known: eps and v are 0."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from cdm_kedro.data.beton import read_beton
from cdm_kedro.evaluation.likelihood import cascade_bits
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.likelihood import LikelihoodParams
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.pipelines.likelihood import likelihood
from cdm_kedro.sampling.cascade import Cascade

T, S = 8, 4
LOW: dict[str, Any] = {
    "resolution": 32,
    "unet": {"channels": 8, "channel_mult": [1], "num_res_blocks": 1},
    "diffusion": {"timesteps": T, "schedule": "linear", "beta_end": 0.004, "learned_variances": True},
    "training": {"steps": 1, "batch_size": 1},
}
HIGH: dict[str, Any] = {
    **LOW,
    "resolution": 64,
    "low": "base",
    "low_resolution": 32,
    "diffusion": {"timesteps": T, "schedule": "linear", "beta_end": 0.005, "noise_conditioning": "continuous"},
    "augmentation": {"kind": "gaussian", "timesteps": T, "schedule": "linear", "beta_end": 0.004},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = {}
    for name, raw in {"base": LOW, "sr": HIGH}.items():
        params = TrainedModelParams.model_validate(raw)
        out[name] = tmp_path_factory.mktemp("bits") / f"{name}.safetensors"
        description = {"stage": name, "num_classes": "3", "params": params.model_dump_json()}
        write_weights(out[name], build_unet(params, 3).state_dict(), description)
    return out


def sampling(s: int, truncated: bool) -> dict[str, Any]:
    return {"base": {"clip_x_start": False}, "sr": {"clip_x_start": False, "s": s, "truncated": truncated}}


def expected(beta: np.ndarray, images: np.ndarray, learned: bool, first: int) -> float:
    """Mean bits per dimension with eps = 0 and v = 0, in float64, from the definitions."""
    abar = np.cumprod(1 - beta)
    previous = np.append(1.0, abar[:-1])
    tilde = beta * (1 - previous) / (1 - abar)
    tilde[0] = tilde[1]
    variance = np.sqrt(tilde * beta) if learned else tilde
    x = images / 127.5 - 1
    last = abar[-1]
    nats = 0.5 * np.mean(last * x**2 + (1 - last) - 1 - math.log(1 - last))
    for t in range(max(first, 1), len(beta)):
        # x_0 is guessed as x_t / sqrt(abar): wrong by sqrt(1 / abar - 1) times the noise.
        off = (beta[t] * math.sqrt(previous[t]) / (1 - abar[t])) ** 2 * (1 / abar[t] - 1)
        nats += 0.5 * (math.log(variance[t] / tilde[t]) - 1 + tilde[t] / variance[t] + off / variance[t])
    if first == 0:
        mean = x[..., None] + math.sqrt(1 / abar[0] - 1) * stats.norm.ppf((np.arange(200) + 0.5) / 200)
        sd = math.sqrt(variance[0])
        upper = np.where(x[..., None] > 0.999, np.inf, x[..., None] + 1 / 255)
        lower = np.where(x[..., None] < -0.999, -np.inf, x[..., None] - 1 / 255)
        p = stats.norm.cdf((upper - mean) / sd) - stats.norm.cdf((lower - mean) / sd)
        nats -= np.mean(np.log(p))
    return nats / math.log(2)


def betas(end: float) -> np.ndarray:
    return np.linspace(1e-4 * 1000 / T, end * 1000 / T, T)


@pytest.mark.parametrize("truncated", [True, False])
def test_bits_of_each_stage_and_of_the_cascade(
    models: dict[str, Path], betons: dict[str, Path], truncated: bool
) -> None:
    params = LikelihoodParams(images=5, batch_size=4, timesteps=None)
    files = {f"{name}_model": path for name, path in models.items()}
    found = likelihood(params, sampling(S, truncated), **files, val_32=betons["val_32"], val_64=betons["val_64"])
    low, high = (read_beton(betons[f"val_{r}"], range(5))[0].astype(np.float64) for r in (32, 64))
    base, sr = expected(betas(0.004), low, True, 0), expected(betas(0.005), high, False, 0)
    assert found["base"]["bits_per_dim"] == pytest.approx(base, rel=0.01)
    assert found["base"]["cascade_bits_per_dim"] == found["base"]["bits_per_dim"]
    assert found["sr"]["bits_per_dim"] == pytest.approx(sr, rel=0.01)
    below = expected(betas(0.004), low, True, S) if truncated else base
    assert found["sr"]["cascade_bits_per_dim"] == pytest.approx(sr + below / 4, rel=0.01)
    assert found["sr"]["n"] == 5 and found["sr"]["terms"] == T - 1 and found["sr"]["s"] == S
    assert abs(base - expected(betas(0.004), low, True, S)) / 4 > 0.05 * (sr + base / 4)  # truncation shows


def test_strata_are_unbiased_and_batches_do_not_matter(models: dict[str, Path], betons: dict[str, Path]) -> None:
    sample = SampleParams.model_validate({"num_samples": 1, "precision": "fp32", "stages": sampling(0, False)})
    cascade = Cascade.from_files(models, sample, torch.device("cpu"))
    files = {32: betons["val_32"], 64: betons["val_64"]}

    def bits(**changes: Any) -> dict[str, Any]:
        settings = {"images": 3, "stages": ("base",), **changes}
        return cascade_bits(cascade, files, LikelihoodParams(**settings))["base"]

    whole, drawn = bits(timesteps=None), [bits(timesteps=3, seed=seed) for seed in range(8)]
    values = np.array([d["bits_per_dim"] for d in drawn])
    assert abs(values.mean() - whole["bits_per_dim"]) < 4 * values.std() / 8**0.5
    assert values.std() > 0 and whole["bits_per_dim_se"] > 0
    one, three = bits(timesteps=3, batch_size=1), bits(timesteps=3, batch_size=3)
    assert one["bits_per_dim"] == pytest.approx(three["bits_per_dim"], rel=1e-6)
    with pytest.raises(ValueError, match=r"the cascade has \['base', 'sr'\]"):
        bits(stages=("sr99",))


def test_files_of_other_images_are_refused(models: dict[str, Path], betons: dict[str, Path]) -> None:
    sample = SampleParams.model_validate({"num_samples": 1, "precision": "fp32", "stages": sampling(0, False)})
    cascade = Cascade.from_files(models, sample, torch.device("cpu"))
    with pytest.raises(ValueError, match="same images"):
        cascade_bits(cascade, {32: betons["train_32"], 64: betons["val_64"]}, LikelihoodParams(timesteps=1))
