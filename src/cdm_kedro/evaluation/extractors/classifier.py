"""A ResNet that this project trained on its own images, as a feature extractor.

Its weights are what a classifier's training wrote. Its features hold what distinguishes the classes of the data, so
they tell images apart in another way than those of networks trained on ImageNet.
"""

from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from cdm_kedro.diffusion.pixels import to_range
from cdm_kedro.evaluation.extractors.extractor import Extractor, WeightsError, best_device
from cdm_kedro.files.hashes import sha256
from cdm_kedro.model.resnet import ResNet


class _Features(nn.Module):
    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net.features(to_range(x).contiguous(memory_format=torch.channels_last))
        return features, self.net.head(features)


def classifier_extractor(path: Path, device: torch.device | None = None) -> Extractor:
    """The last features of a trained ResNet. It takes images of its own resolution alone, which its name says.

    Raises WeightsError if the file does not say the network's sizes. ``device``: where the network runs; by default the
    GPU if there is one.
    """
    device = device or best_device()
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    keys = ("depth", "num_classes", "resolution", "width")
    if any(key not in metadata for key in keys):
        raise WeightsError(f"{path} does not say the sizes of a classifier ({', '.join(keys)}); train it again")
    depth, num_classes, resolution, width = (int(metadata[key]) for key in keys)
    net = ResNet(depth, num_classes, resolution, width)
    net.load_state_dict({key: value.to(dict(net.state_dict())[key].dtype) for key, value in state.items()})
    wrapped = _Features(net).to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    words = f"x / 127.5 - 1 at {resolution} px; average-pooled last features of a ResNet-{depth} trained on the data"
    name, remake = f"classifier_{resolution}px", partial(classifier_extractor, path)
    return Extractor(name, wrapped, net.head.in_features, sha256(path), words, device, remake)
