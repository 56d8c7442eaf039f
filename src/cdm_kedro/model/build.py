"""Typed parameters to the objects they describe."""

from __future__ import annotations

from typing import Any

import torch

from cdm_kedro.diffusion.augmentation import (
    Augmentation,
    BlurConditioning,
    GaussianConditioning,
    NoConditioningAugmentation,
)
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas
from cdm_kedro.model.preconditioned import PreconditionedUNet
from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import (
    AugmentationParams,
    BlurAugmentation,
    DiffusionParams,
    GaussianAugmentation,
    ModelParams,
)


def build_unet(stage: ModelParams, num_classes: int) -> UNet:
    """The stage's network, freshly initialized."""
    unet = stage.unet
    settings: dict[str, Any] = {
        "resolution": stage.resolution,
        "channels": unet.channels,
        "channel_mult": unet.channel_mult,
        "num_res_blocks": unet.num_res_blocks,
        "attention_resolutions": unet.attention_resolutions,
        "num_heads": unet.num_heads,
        "num_head_channels": unet.num_head_channels,
        "middle_attention": unet.middle_attention,
        "dropout": unet.dropout,
        "num_classes": num_classes if unet.class_cond else None,
        "class_dropout": stage.class_dropout > 0,
        "scale_shift_norm": unet.scale_shift_norm,
        "resblock_updown": unet.resblock_updown,
        "low_res": stage.low is not None,
        "low_res_interpolation": unet.low_res_interpolation,
        "aug_conditioning": isinstance(stage.augmentation, GaussianAugmentation),
        "learned_variances": stage.diffusion.learned_variances,
        "noise_conditioning": stage.diffusion.noise_conditioning,
        "timestep_scale": stage.diffusion.timestep_scale,
        "checkpointing": unet.checkpointing is True,  # the trainer decides "auto"
    }
    if unet.detail_std is None:
        return UNet(**settings)
    augmentation, levels, aug_levels = stage.augmentation, None, None
    with torch.device("cpu"):  # tables have values even where the network is only counted
        if stage.diffusion.noise_conditioning == "timestep":
            levels = build_process(stage.diffusion).level_bounds()[1:]
        if isinstance(augmentation, GaussianAugmentation):
            aug_levels = build_process(augmentation).level_bounds()
    return PreconditionedUNet(
        detail_std=unet.detail_std,
        levels=levels,
        aug_levels=aug_levels,
        **settings,
    )


def build_process(params: DiffusionParams | GaussianAugmentation) -> DiffusionProcess:
    """The forward process that the parameters describe."""
    return DiffusionProcess(make_betas(params.schedule, params.timesteps, params.beta_start, params.beta_end))


def build_augmentation(params: AugmentationParams) -> Augmentation:
    """The conditioning augmentation."""
    if isinstance(params, GaussianAugmentation):
        return GaussianConditioning(build_process(params), params.s, params.max_s)
    if isinstance(params, BlurAugmentation):
        return BlurConditioning(params.sigma_min, params.sigma_max, params.probability, params.kernel_size)
    return NoConditioningAugmentation()
