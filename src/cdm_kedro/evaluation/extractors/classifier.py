"""A classifier trained here as a feature extractor: what it needs to know of the data is what tells classes apart."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.files.hashes import sha256
from cdm_kedro.model.resnet import ResNet


class _Features(nn.Module):
    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.features((x / 127.5 - 1).contiguous(memory_format=torch.channels_last))
        return features, self.net.head(features)


def classifier_extractor(path: Path, device: torch.device | None = None) -> Extractor:
    """The network that a classifier's training wrote.

    Its features and logits see images at its own resolution only; the name says which.

    Args:
        path: safetensors, with the network's sizes as metadata.
        device: default is the GPU where there is one.

    Raises:
        ValueError: not such a file.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with safe_open(path, "pt") as file:
        said = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    keys = ("depth", "num_classes", "resolution", "width")
    if any(key not in said for key in keys):
        raise ValueError(f"{path} does not say the sizes of a classifier ({', '.join(keys)}); train it again")
    depth, num_classes, resolution, width = (int(said[key]) for key in keys)
    net = ResNet(depth, num_classes, resolution, width)
    net.load_state_dict({key: value.to(dict(net.state_dict())[key].dtype) for key, value in state.items()})
    wrapped = _Features(net).to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    words = f"x / 127.5 - 1 at {resolution} px; average-pooled last features of a ResNet-{depth} trained on the data"
    return Extractor(f"classifier_{resolution}px", wrapped, net.head.in_features, sha256(path), words, device)
