"""The one definition of downsampling: files, conditioning inputs and evaluation references all use it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def downsample(images: Tensor, resolution: int) -> Tensor:
    """Mean over square blocks, rounded to 8 bits; always from the stored size, never chained.

    Args:
        images: (B, C, H, H) uint8.
        resolution: side of the result; must divide H.

    Returns:
        (B, C, resolution, resolution) uint8. Exact halves round to even.

    Raises:
        ValueError: not uint8, not square, or not divisible.
    """
    side = images.shape[-1]
    if images.dtype != torch.uint8 or images.shape[-2] != side or side % resolution:
        raise ValueError(
            f"downsample takes square uint8 images whose side {resolution} divides; got {images.dtype} {tuple(images.shape)}"
        )
    if side == resolution:
        return images
    return F.avg_pool2d(images.float(), side // resolution).round().to(torch.uint8)
