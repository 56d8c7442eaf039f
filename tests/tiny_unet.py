"""Tiny networks from a flat list of settings, and inputs for them."""

from __future__ import annotations

from typing import Any

import torch

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import TrainedModelParams

SIZES: dict[str, Any] = {
    "channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (8,),
    "num_heads": 2,
}
DIFFUSION = ("learned_variances", "noise_conditioning", "timestep_scale")


def tiny_unet(
    num_classes: int | None = None,
    low_res: bool = False,
    aug_conditioning: bool = False,
    class_dropout: float = 0.0,
    **settings: Any,
) -> UNet:
    """A network for 16-pixel images, from 8-pixel ones with ``low_res``; settings of its unet and its diffusion."""
    diffusion = {key: settings.pop(key) for key in DIFFUSION if key in settings}
    raw: dict[str, Any] = {
        "resolution": 16,
        "unet": {**SIZES, "class_cond": num_classes is not None, **settings},
        "diffusion": {"timesteps": 100, "schedule": "cosine", **diffusion},
        "training": {"steps": 1, "batch_size": 1, "class_dropout": class_dropout},
    }
    if low_res:
        raw |= {"low": "base", "low_resolution": 8}
    if aug_conditioning:
        raw["augmentation"] = {"kind": "gaussian", "timesteps": 100}
    return build_unet(TrainedModelParams.model_validate(raw), num_classes or 1)


def inputs(net: UNet, batch: int = 2) -> list[Any]:
    """Random arguments of its ``forward``."""
    g = torch.Generator().manual_seed(0)
    side = net.resolution
    return [
        torch.randn(batch, 3, side, side, generator=g),
        torch.rand(batch, generator=g),
        torch.arange(batch) if net.class_emb is not None else None,
        torch.randn(batch, 3, side // 2, side // 2, generator=g) if net.low_res else None,
        torch.arange(batch).float() if net.aug_emb is not None else None,
    ]


def perturbed(net: UNet) -> UNet:
    """Zero-initialized layers set to noise, so that every path shows."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            if not p.any():
                p.copy_(0.1 * torch.randn(p.shape, generator=g))
    return net
