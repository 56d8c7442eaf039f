"""The one definition of downsampling: files, conditioning inputs and evaluation references all use it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


_BLOCK_OF_16_BITS = 256  # pixels whose sum 16 bits hold


def _check(dtype: str, height: int, width: int, resolution: int) -> None:
    if not dtype.endswith("uint8") or height != width or width % resolution:
        raise ValueError(
            f"downsample takes square uint8 images whose side {resolution} divides; got {dtype} {height} x {width}"
        )


def downsample(images: "Tensor", resolution: int) -> "Tensor":
    """Shrink (B, C, H, H) uint8 images to a side that divides H, as the mean over square blocks.

    The mean is rounded to 8 bits, halves to even. It is always that of the stored size, never chained. Raises
    ValueError if the images are not uint8, not square, or not divisible.
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


def pyramid(image: NDArray[np.uint8], resolutions: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """One image at several sizes, bit for bit as :func:`downsample_numpy` gives each, about thirty times as fast.

    Sums over blocks, which are whole numbers, are chained; only the stored values are rounded. The image is (H, H, 3),
    every resolution is H divided by a power of two, and the result maps each to its (side, side, 3).
    """
    import cv2

    side, count, sums = image.shape[0], 1, image.astype(np.uint16)
    sizes = {side: image}
    while side > min(resolutions):
        side, count = side // 2, count * 4
        if count > _BLOCK_OF_16_BITS:
            sizes[side] = downsample_numpy(image[None], side)[0]
            continue
        # OpenCV's mean of four integers, each times four, is their sum.
        sums = cv2.resize(sums << 2, (side, side), interpolation=cv2.INTER_AREA)
        sizes[side] = cv2.convertScaleAbs(sums, alpha=1 / count)  # rounds halves to even
    return {side: sizes[side] for side in resolutions}
