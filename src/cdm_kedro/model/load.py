"""Weights files read: what they say of themselves, and the network that they hold."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from cdm_kedro.errors import CascadeError
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.model import ModelParams, parse_model


def _metadata(weights: Path) -> dict[str, str]:
    with safe_open(weights, "pt") as file:
        return file.metadata() or {}


def read_description(weights: Path) -> tuple[ModelParams, int]:
    """Stage parameters and number of classes that a weights file carries.

    Raises:
        CascadeError: the file was not written by training.
    """
    metadata = _metadata(weights)
    try:
        return parse_model(json.loads(metadata["params"])), int(metadata["num_classes"])
    except KeyError as error:
        raise CascadeError(f"{weights}: its metadata lacks {error}; it was not written by a training stage") from None


def read_data_hash(weights: Path) -> str | None:
    """Hash of the 256-pixel file that the model's training images of every size were made from; None if not known."""
    data = json.loads(_metadata(weights).get("data", "{}"))
    return data.get("source_sha256")


def find_models(folder: Path) -> dict[str, Path]:
    """Stage name to weights for every ``*.safetensors`` of a folder, each one's low stage first.

    Raises:
        CascadeError: none there, or a stage whose low stage is missing.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    if not found:
        raise CascadeError(f"{folder}: holds no *.safetensors; train the cascade, or give the folder of its models")
    params = {name: read_description(path)[0] for name, path in found.items()}
    order: list[str] = []
    for name in sorted(found, key=lambda n: params[n].resolution):
        low = params[name].low
        if low is not None and low not in order:
            raise CascadeError(f"{found[name]} was trained on top of {low}; {folder} has no {low}.safetensors")
        order.append(name)
    return {name: found[name] for name in order}


def load_net(weights: Path, params: ModelParams, num_classes: int, device: torch.device, precision: str) -> nn.Module:
    """The network with the file's weights, in eval mode.

    With ``precision`` bf16 the weights of convolutions and linear layers are stored so: autocast would round them
    anew at every step.
    """
    net = build_unet(params, num_classes)
    with safe_open(weights, "pt") as file:
        net.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    if precision == "bf16":
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(torch.bfloat16)
    return net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
