"""The one definition of downsampling: files, conditioning inputs and evaluation references all use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def _check(dtype: str, height: int, width: int, resolution: int) -> None:
    if not dtype.endswith("uint8") or height != width or width % resolution:
        raise ValueError(
            f"downsample takes square uint8 images whose side {resolution} divides; got {dtype} {height} x {width}"
        )


def downsample(images: Tensor, resolution: int) -> Tensor:
    """Mean over square blocks, rounded to 8 bits, halves to even; always from the stored size, never chained.

    Args:
        images: (B, C, H, H) uint8.
        resolution: side of the result; must divide H.

    Returns:
        (B, C, resolution, resolution) uint8.

    Raises:
        ValueError: not uint8, not square, or not divisible.
    """
    import torch

    side = images.shape[-1]
    _check(str(images.dtype), images.shape[-2], side, resolution)
    if side == resolution:
        return images
    return torch.nn.functional.avg_pool2d(images.float(), side // resolution).round().to(torch.uint8)


def downsample_numpy(images: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """The same for (B, H, H, C) arrays, bit for bit, in processes that must not start torch's threads."""
    count, height, width, channels = images.shape
    _check(str(images.dtype), height, width, resolution)
    k = width // resolution
    sums = images.reshape(count, resolution, k, resolution, k, channels).sum((2, 4), dtype=np.uint32)
    return np.rint(sums / (k * k)).astype(np.uint8)
