"""A cascade of tiny untrained networks, as files, and settings to sample it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.weights import write_weights
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.params.sampling import SampleParams

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
