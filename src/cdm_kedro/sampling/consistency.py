"""How consistent super-resolution is with its input: colour shift, and PSNR of the downsampled output.

Saharia et al. 2021 (SR3) call the agreement of the downsampled output with the input consistency.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data.resample import downsample


def consistency_sums(images: Tensor, low: Tensor) -> NDArray[np.float64]:
    """Sum what :func:`consistency` needs over a batch; the sums of several batches may be added.

    Returns (5,) float64: number of pixels; sums of output minus input in red, green, blue; sum of their squares.
    ``images``: (B, 3, H, H) uint8 output. ``low``: (B, 3, h, h) uint8 images that the input was made from.
    """
    difference = downsample(images, low.shape[-1]).double() - low.double()
    pixels = difference.new_tensor([difference.numel() / 3])
    return torch.cat((pixels, difference.sum((0, 2, 3)), difference.square().sum()[None])).cpu().numpy()


def consistency(sums: NDArray[np.float64]) -> dict[str, float]:
    """Mean colour shift in levels of 8 bits, and PSNR in dB, which is absent where all pixels agree."""
    pixels, red, green, blue, squares = sums.tolist()
    numbers = {f"colour_shift_{c}": v / pixels for c, v in (("red", red), ("green", green), ("blue", blue))}
    if squares > 0:
        numbers["psnr_to_input_db"] = 10 * math.log10(255**2 * 3 * pixels / squares)
    return numbers
