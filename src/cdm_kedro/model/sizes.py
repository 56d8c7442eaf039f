"""Parameters and floating-point operations of models; on the meta device nothing is allocated or computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import ModelParams, TrainedModelParams


@dataclass(frozen=True)
class ModelSize:
    """What one model costs.

    Attributes:
        parameters: count.
        forward_flops: of one evaluation on one image; a multiply-add counts as two.
        training_flops: of all its training: three times forward, per image, for every step; 0 for published weights.
    """

    parameters: int
    forward_flops: float
    training_flops: float


def network_inputs(params: ModelParams, batch: int, aug: bool) -> list[torch.Tensor | None]:
    """Zeros for inputs of a stage's network in training, on the default device, in the order of its ``forward``."""
    training = params.training if isinstance(params, TrainedModelParams) else None
    side = (training.crop if training else None) or params.resolution
    inputs: list[torch.Tensor | None] = [torch.zeros(batch, 3, side, side), torch.zeros(batch)]
    inputs.append(torch.zeros(batch, dtype=torch.int64) if params.unet.class_cond else None)
    if params.low_resolution is not None:
        low = side * params.low_resolution // params.resolution
        inputs += [torch.zeros(batch, 3, low, low), torch.zeros(batch) if aug else None]
    return inputs


def forward_flops(net: UNet, params: ModelParams) -> float:
    """Count one evaluation on one image, by evaluating ``net`` where it lives; a multiply-add counts as two."""
    training, device = net.training, next(net.parameters()).device
    with torch.device(device):
        inputs = network_inputs(params, 1, net.aug_emb is not None)
    net.eval()
    with FlopCounterMode(display=False) as counter:  # with gradients, as in training
        net(*inputs)
    net.train(training)
    return float(counter.get_total_flops())


def model_size(params: ModelParams, num_classes: int) -> ModelSize:
    """Count one stage's model.

    Args:
        params: of the stage.
        num_classes: of the data.
    """
    with torch.device("meta"):
        net = build_unet(params, num_classes).to("meta")
        forward = forward_flops(net, params)
    training = params.training if isinstance(params, TrainedModelParams) else None
    images = training.steps * training.batch_size if training else 0
    return ModelSize(sum(p.numel() for p in net.parameters()), forward, 3 * forward * images)
