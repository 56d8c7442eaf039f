"""Feature extractors behind one interface. None needs the network or torchvision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]


class Extractor:
    """Maps images to features and, where the network is a classifier, class logits.

    Args:
        name: goes into metric names.
        net: (B, 3, H, W) float32 in 0 .. 255 to (features, logits or None).
        dim: feature size.
        weights_sha256: of the weights file.
        preprocessing: what happens to the pixels, in words.
        device: where it runs.
    """

    def __init__(
        self,
        name: str,
        net: Callable[[Tensor], tuple[Tensor, Tensor | None]],
        dim: int,
        weights_sha256: str,
        preprocessing: str,
        device: torch.device,
    ) -> None:
        self.name, self.net, self.dim = name, net, dim
        self.weights_sha256, self.preprocessing, self.device = weights_sha256, preprocessing, device

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8]) -> tuple[Float32, Float32 | None]:
        """Features (B, dim) and logits (B, classes) of (B, H, W, 3) uint8 images, in full float32.

        Raises:
            ValueError: wrong type or shape.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images must be uint8 (N, H, W, 3); got {images.dtype} {images.shape}")
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        x = pixels.to(self.device).permute(0, 3, 1, 2).float()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):  # its 10 bits move distances
            features, logits = self.net(x)
        return features.float().cpu().numpy(), None if logits is None else logits.float().cpu().numpy()


def load_state(path: Path) -> dict[str, Tensor]:
    """A state dict, by weights-only loading.

    Raises:
        ValueError: not one.
    """
    import pickle

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"evaluate.weights: {path} is not a readable PyTorch weights file: {error}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"evaluate.weights: {path} holds no state dict of tensors")
    return state


def resize_bicubic(x: Tensor, side: int) -> Tensor:
    """(B, C, H, W) in 0 .. 255 to (B, C, side, side): bicubic with antialias, clamped; unchanged at that size."""
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
