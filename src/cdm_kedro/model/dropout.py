"""Dropout whose masks are functions of the example, so that they do not depend on microbatches or devices."""

import torch
from torch import Tensor


def _scramble(words: Tensor) -> Tensor:
    """Mix int32 words in place, so that neighbours have nothing in common (xor-shifts and odd products modulo 2^32)."""
    words ^= (words >> 16) & 0xFFFF
    words *= 0x7FEB352D
    words ^= (words >> 15) & 0x1FFFF
    words *= -0x7B935975
    return words


def dropout_keys(seed: int, first: int, count: int, device: torch.device) -> Tensor:
    """Give the positions ``first``, ``first`` + 1, … of a batch (count,) int32 words, which ``seed`` decides."""
    positions = torch.arange(first, first + count, dtype=torch.int32, device=device)
    return _scramble(_scramble(positions) ^ ((seed & 0xFFFFFFFF) - 2**31))


def dropout(x: Tensor, rate: float, keys: Tensor, layer: int) -> Tensor:
    """Set a share of the values to zero, and scale the others so that the mean stays.

    The mask is a function of key, layer and place in the feature map: a few integer operations a value, which a
    compiler fuses with what is around them.

    Args:
        x: (B, C, H, W).
        rate: share of zeros.
        keys: (B,) int32, of :func:`dropout_keys`.
        layer: number of the layer that asks.
    """
    _, channels, height, width = x.shape
    places = torch.arange(channels * height * width, dtype=torch.int32, device=x.device)
    places = _scramble(places).view(height, width, channels).permute(2, 0, 1)
    words = _scramble(places ^ _scramble(keys ^ layer)[:, None, None, None])
    return x * (words >= int(rate * 2**32) - 2**31) * (1 / (1 - rate))
