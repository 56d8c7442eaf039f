"""8-bit pixels and the range that the diffusion process works in."""

import torch
from torch import Tensor


def to_range(images: Tensor) -> Tensor:
    """Images of 0 .. 255, any shape and type, as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Images in [-1, 1], any shape, rounded and clamped to uint8."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
