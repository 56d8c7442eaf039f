"""How faithful super-resolution is to its input: colour shift, and PSNR of the downsampled output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cdm_kedro.data.resample import downsample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def sums(images: Tensor, low: Tensor) -> NDArray[np.float64]:
    """Sums over a batch, to be added to those of other batches.

    Args:
        images: (B, 3, H, H) uint8 output.
        low: (B, 3, h, h) uint8 images that the input was made from.

    Returns:
        (5,) float64: pixels; sums of output minus input in red, green, blue; sum of squares over channels.
    """
    difference = downsample(images, low.shape[-1]).double() - low.double()
    pixels = difference.new_tensor([difference.numel() / 3])
    return torch.cat((pixels, difference.sum((0, 2, 3)), difference.square().sum()[None])).cpu().numpy()


def summary(totals: NDArray[np.float64]) -> dict[str, float]:
    """Mean colour shift in uint8 levels, and PSNR in dB (left out where output and input agree in every pixel)."""
    pixels, red, green, blue, squares = totals.tolist()
    numbers = {f"colour_shift_{c}": v / pixels for c, v in (("red", red), ("green", green), ("blue", blue))}
    if squares > 0:
        numbers["psnr_to_input_db"] = 10 * math.log10(255**2 * 3 * pixels / squares)
    return numbers
