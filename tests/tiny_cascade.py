"""A cascade of tiny untrained networks, as files, settings to sample it, and fixtures with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.job import balanced_labels

CLASSES = 4
BASE: dict[str, Any] = {
    "resolution": 8,
    "unet": {"channels": 8, "channel_mult": [1], "num_res_blocks": 1},
    "diffusion": {"timesteps": 40, "schedule": "cosine", "learned_variances": True},
    "training": {"steps": 1, "batch_size": 1},
}
SR: dict[str, Any] = {
    **BASE,
    "resolution": 16,
    "low": "base",
    "low_resolution": 8,
    "augmentation": {"kind": "gaussian", "timesteps": 40, "schedule": "cosine"},
}
TOP: dict[str, Any] = {
    **BASE,
    "resolution": 32,
    "low": "sr",
    "low_resolution": 16,
    "diffusion": {"timesteps": 40, "schedule": "linear", "beta_end": 0.01, "noise_conditioning": "continuous"},
    "augmentation": {"kind": "blur"},
}
CASCADE = {"base": BASE, "sr": SR, "top": TOP}


def write_model(path: Path, raw: dict[str, Any], seed: int = 0, data: str | None = "1" * 64) -> Path:
    """A model of random weights, none of them zero, with the description that training writes."""
    params = TrainedModelParams.model_validate(raw)
    torch.manual_seed(seed)
    net = build_unet(params, CLASSES)
    with torch.no_grad():
        for p in net.parameters():
            if not p.any():
                p.normal_(std=0.1)
    description = {"stage": path.stem, "num_classes": str(CLASSES), "params": params.model_dump_json()}
    if data is not None:
        description["data"] = json.dumps({"source_sha256": data})
    write_weights(path, net.state_dict(), description)
    return path


def sampling(**changes: Any) -> SampleParams:
    stages = {
        "base": {"steps": 4},
        "sr": {"steps": 4, "s": 10, "truncated": True},
        "top": {"steps": 3, "schedule": "linear", "beta_start": 0.01, "beta_end": 0.6},
    }
    for name, values in changes.pop("stages", {}).items():
        stages[name] = {**stages[name], **values}
    return SampleParams(**{"num_samples": 8, "batch_size": 64, "precision": "fp32", "stages": stages, **changes})


def run(models: dict[str, Path], params: SampleParams, n: int = 8, first: int = 0) -> dict[int, np.ndarray]:
    """Resolution to the (n, 3, H, W) samples from number ``first`` on."""
    cascade = Cascade.from_files(models, params, torch.device("cpu"))
    labels = torch.from_numpy(balanced_labels(first + n, CLASSES)[first:])
    return {r: x.numpy() for r, x in cascade.sample(labels, torch.arange(first, first + n), params.seed).items()}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """On networks this small a second thread costs more than it brings."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: write_model(folder / f"{name}.safetensors", raw, seed) for seed, (name, raw) in enumerate(CASCADE.items())
    }


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """FFCV files at 8 and 16 pixels: 3 images of each class for training, 1 for validation, shuffled."""
    folder = tmp_path_factory.mktemp("real")
    rng = np.random.default_rng(0)
    files = {}
    for split, count in (("train", 3), ("val", 1)):
        labels = rng.permutation(np.repeat(np.arange(CLASSES), count))
        images = rng.integers(0, 256, (len(labels), 16, 16, 3), dtype=np.uint8)
        for side in (8, 16):
            files[f"{split}_{side}"] = folder / f"{split}_{side}.beton"
            write_beton(files[f"{split}_{side}"], labels, side, images[:, :side, :side])
    return files
