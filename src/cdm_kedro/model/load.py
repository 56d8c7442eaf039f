"""Reading weights files: what they say of themselves, and the network that they hold."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from cdm_kedro.errors import CdmError
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.model import ModelParams, parse_model


def _metadata(weights: Path) -> dict[str, str]:
    try:
        with safe_open(weights, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise CdmError(f"{weights}: no whole safetensors file ({error}); `kedro run` brings it back") from None


def read_description(weights: Path) -> tuple[ModelParams, int]:
    """Read the parameters of a model and the number of classes that it knows from its weights file.

    Raises CdmError if the file was not written by training or conversion.
    """
    metadata = _metadata(weights)
    try:
        return parse_model(json.loads(metadata["params"])), int(metadata["num_classes"])
    except KeyError as error:
        raise CdmError(f"{weights}: its metadata lacks {error}; it was not written by a training stage") from None


def read_data_hash(weights: Path) -> str | None:
    """Read the hash of the 256-pixel file from which the training images of every size were made.

    Returns the hash, or None for a model that does not carry it.
    """
    return json.loads(_metadata(weights).get("data", "{}")).get("source_sha256")


def find_models(folder: Path) -> dict[str, Path]:
    """Find every ``*.safetensors`` of a folder.

    Returns each file's name without its suffix, which is the model's name, and the file; the lowest resolution first.
    Raises CdmError if the folder holds none.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    if not found:
        raise CdmError(f"{folder}: holds no *.safetensors; train the cascade, or give the folder of its models")
    return dict(sorted(found.items(), key=lambda item: read_description(item[1])[0].resolution))


def load_net(weights: Path, params: ModelParams, num_classes: int, device: torch.device, precision: str) -> nn.Module:
    """Build a network that a file describes and load its weights, in eval mode and without gradients.

    ``precision``: "bf16" stores the weights of convolutions and linear layers so, which autocast would else round anew
    at every step.
    """
    net = build_unet(params, num_classes)
    net.load_state_dict(load_file(weights))
    if precision == "bf16":
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(torch.bfloat16)
    return net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
