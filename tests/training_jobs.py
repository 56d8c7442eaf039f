"""A tiny training job, and what fails in the backward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdm_kedro.training.job import TrainingJob


def make_job(beton: Path, workdir: Path, **training: Any) -> TrainingJob:
    return TrainingJob.model_validate(
        {
            "name": "sr64",
            "params": {
                "resolution": 64,
                "low": "base32",
                "low_resolution": 32,
                "unet": {"channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "dropout": 0.1},
                "diffusion": {"timesteps": 40, "schedule": "cosine", "learned_variances": True},
                "augmentation": {"kind": "gaussian", "timesteps": 40},
                "training": {
                    "steps": 12,
                    "batch_size": 4,
                    "lr": 1e-3,
                    "crop": 32,
                    "ema_decay": 0.9,
                    "class_dropout": 0.1,
                    "log_every": 1,
                    "checkpoint_steps": 1,
                    **training,
                },
            },
            "beton": str(beton),
            "num_classes": 3,
            "workdir": str(workdir),
            "data": {"sha256": "of the test"},
        }
    )


class BackwardFails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("no kernel image")
