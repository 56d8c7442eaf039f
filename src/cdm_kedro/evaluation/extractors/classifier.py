"""A ResNet that this project trained on its own images, as a feature extractor.

Its weights are what a classifier's training wrote. Its features hold what distinguishes the classes of the data, so
they tell images apart in another way than those of networks trained on ImageNet.
"""

from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from cdm_kedro.diffusion.pixels import to_range
from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor, best_device
from cdm_kedro.files.hashes import sha256
from cdm_kedro.model.resnet import ResNet


def classifier_extractor(path: Path, device: torch.device | None = None) -> Extractor:
    """The last features of a trained ResNet. It takes images of its own resolution alone, which its name says.

    Raises CdmError if the file does not say the network's sizes. ``device``: by default the GPU if there is one.
    """
    device = device or best_device()
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    keys = ("depth", "num_classes", "resolution", "width")
    if any(key not in metadata for key in keys):
        raise CdmError(f"{path} does not say the sizes of a classifier ({', '.join(keys)}); train it again")
    depth, num_classes, resolution, width = (int(metadata[key]) for key in keys)
    net = ResNet(depth, num_classes, resolution, width)
    net.load_state_dict(load_file(path))
    net = net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        features = net.features(to_range(x).contiguous(memory_format=torch.channels_last))
        return features, net.head(features)

    words = f"x / 127.5 - 1 at {resolution} px; average-pooled last features of a ResNet-{depth} trained on the data"
    name, remake = f"classifier_{resolution}px", partial(classifier_extractor, path)
    return Extractor(name, evaluate, net.head.in_features, sha256(path), words, device, remake)
