"""What every feature extractor is: a frozen network with a name, the hash of its weights and its preprocessing."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.errors import CdmError

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Extractor:
    """A network that maps images to features and, if it is a classifier, to class logits.

    Attributes:
        net: maps (B, 3, H, W) float32 in 0 .. 255 to features (B, dim) and logits (B, classes) or None.
        preprocessing: what happens to the pixels, in words.
        remake: makes the same extractor on another device, for work in several processes; None keeps all work in one.
    """

    name: str
    net: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    dim: int
    weights_sha256: str
    preprocessing: str
    device: torch.device
    remake: Callable[[torch.device], "Extractor"] | None = None

    def describe(self) -> dict[str, Any]:
        """What made the features, for metrics files and statistics files."""
        return {key: getattr(self, key) for key in ("name", "weights_sha256", "preprocessing", "dim")}

    @torch.no_grad()
    def __call__(self, images: NDArray[np.uint8]) -> tuple[Float32, Float32 | None]:
        """Features (B, dim) and logits (B, classes) of (B, H, W, 3) uint8 images, computed in full float32.

        Raises ValueError if the images have another type or shape.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images must be uint8 (N, H, W, 3); got {images.dtype} {images.shape}")
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        x = pixels.to(self.device).permute(0, 3, 1, 2).float()
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):  # its 10 bits move distances
            features, logits = self.net(x)
        return features.float().cpu().numpy(), None if logits is None else logits.float().cpu().numpy()


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_state(path: Path) -> dict[str, Tensor]:
    """Read a PyTorch state dict without running any code that the file may hold.

    Raises CdmError if the file is not readable or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CdmError(f"evaluate.weights: {path} is not a readable PyTorch weights file: {error}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CdmError(f"evaluate.weights: {path} holds no state dict of tensors")
    return state


def resize_bicubic(x: Tensor, side: int) -> Tensor:
    """Resize (B, C, H, W) in 0 .. 255 to (B, C, side, side), bicubic with antialiasing, clamped to 0 .. 255.

    Images that already have this size stay as they are.
    """
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 255)
