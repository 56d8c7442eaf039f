"""Objects that a model's parameters describe: its network, its forward process and its augmentation."""

import torch
from torch import Tensor

from cdm_kedro.diffusion.augmentation import (
    Augmentation,
    BlurConditioning,
    GaussianConditioning,
)
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas
from cdm_kedro.model.unet import PreconditionedUNet, UNet
from cdm_kedro.params.model import (
    AugmentationParams,
    BlurAugmentation,
    DiffusionParams,
    GaussianAugmentation,
    ModelParams,
)


def build_unet(params: ModelParams, num_classes: int) -> UNet:
    """Build a model's network with fresh weights from torch's generator, on torch's default device."""
    if params.unet.detail_std is None:
        return UNet(params, num_classes)
    levels = aug_levels = None
    with torch.device("cpu"):  # the tables need values, also of a network on the meta device
        if params.diffusion.noise_conditioning == "timestep":
            levels = build_process(params.diffusion).level_bounds()[1:]
        if isinstance(params.augmentation, GaussianAugmentation):
            aug_levels = build_process(params.augmentation).level_bounds()
    return PreconditionedUNet(params, num_classes, levels, aug_levels)


def network_inputs(params: ModelParams, batch: int, side: int) -> list[Tensor | None]:
    """Make zeros of the shapes that a model's network takes, on torch's default device.

    Returns arguments of the network's ``forward``, in order. ``side``: of the images in pixels; a model trained on
    crops sees smaller ones than it makes.
    """
    inputs: list[Tensor | None] = [torch.zeros(batch, 3, side, side), torch.zeros(batch)]
    inputs.append(torch.zeros(batch, dtype=torch.int64) if params.unet.class_cond else None)
    if params.low_resolution is not None:
        low, augmented = side * params.low_resolution // params.resolution, params.augmentation.kind == "gaussian"
        inputs += [torch.zeros(batch, 3, low, low), torch.zeros(batch) if augmented else None]
    return inputs


def build_process(params: DiffusionParams | GaussianAugmentation) -> DiffusionProcess:
    """Build the forward process that the parameters describe."""
    return DiffusionProcess(make_betas(params.schedule, params.timesteps, params.beta_start, params.beta_end))


def build_augmentation(params: AugmentationParams) -> Augmentation:
    """Build the conditioning augmentation."""
    if isinstance(params, GaussianAugmentation):
        return GaussianConditioning(build_process(params), params.s, params.max_s)
    if isinstance(params, BlurAugmentation):
        return BlurConditioning(params.sigma_min, params.sigma_max, params.probability, params.kernel_size)
    return Augmentation()
