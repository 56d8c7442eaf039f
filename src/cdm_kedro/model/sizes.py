"""Numbers of parameters and floating-point operations of models, counted without allocating or computing."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from cdm_kedro.model.build import build_unet, network_inputs
from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import ModelParams, TrainedModelParams


@dataclass(frozen=True)
class ModelSize:
    """What one model costs in parameters and operations."""

    parameters: int
    forward_flops: float  # of one evaluation on one image; a multiply-add counts as two
    training_flops: float  # of the whole training, three forward passes for every image; 0 for published weights


def forward_flops(net: UNet, params: ModelParams) -> float:
    """Count the operations of one evaluation on one image, by evaluating ``net`` on its own device."""
    training, device = net.training, next(net.parameters()).device
    with torch.device(device):
        inputs = network_inputs(params, 1, training_side(params))
    net.eval()
    with FlopCounterMode(display=False) as counter:  # with gradients, as in training
        net(*inputs)
    net.train(training)
    return float(counter.get_total_flops())


def training_side(params: ModelParams) -> int:
    """Side in pixels of the images that a model is trained on: of its crops, or of its whole images."""
    crop = params.training.crop if isinstance(params, TrainedModelParams) else None
    return crop or params.resolution


def model_size(params: ModelParams, num_classes: int) -> ModelSize:
    """Count a model on the meta device, where nothing is allocated or computed."""
    with torch.device("meta"):
        net = build_unet(params, num_classes).to("meta")
        forward = forward_flops(net, params)
    training = params.training if isinstance(params, TrainedModelParams) else None
    images = training.steps * training.batch_size if training else 0
    return ModelSize(sum(p.numel() for p in net.parameters()), forward, 3 * forward * images)
