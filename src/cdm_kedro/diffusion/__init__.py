"""Pure tensor mathematics of diffusion: schedules, process, losses, conditioning augmentation, samplers."""

from cdm_kedro.diffusion.augmentation import (
    Augmentation,
    BlurConditioning,
    GaussianConditioning,
    NoConditioningAugmentation,
)
from cdm_kedro.diffusion.losses import hybrid_loss, simple_loss
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import SAMPLERS, ReverseSchedule, ancestral, ddim, dpmpp_2m
from cdm_kedro.diffusion.schedules import inference_alphas_cumprod, make_betas

__all__ = [
    "SAMPLERS",
    "Augmentation",
    "BlurConditioning",
    "DiffusionProcess",
    "GaussianConditioning",
    "NoConditioningAugmentation",
    "ReverseSchedule",
    "ancestral",
    "ddim",
    "dpmpp_2m",
    "hybrid_loss",
    "inference_alphas_cumprod",
    "make_betas",
    "simple_loss",
]
