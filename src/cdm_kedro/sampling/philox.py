"""Counter-based Gaussian noise: Philox4x32-10 (Salmon et al., 2011) in tensor operations, on any device.

The noise of sample i at stage k and step t is a pure function of (seed, k, i, t), so neither batch size, number of
processes, order nor interruption changes it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Ten rounds of Philox4x32.

    Args:
        counter: four broadcastable int64 tensors holding unsigned 32-bit words.
        key: two unsigned 32-bit words.

    Returns:
        Four int64 tensors of random unsigned 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64, which leaves both 32-bit halves right.
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


def normal(seed: int, stage: int, indices: Tensor, step: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise of several samples.

    Args:
        seed: run seed, 0 .. 2^64 - 1.
        stage: position of the stage in the cascade, 0 .. 2^16 - 1.
        indices: (B,) int64 global sample numbers, 0 .. 2^48 - 1; the device of the result.
        step: number of the draw within the stage, 0 .. 2^32 - 1.
        shape: shape of one sample's noise.

    Returns:
        (B, *shape) float32.
    """
    size = math.prod(shape)
    block = torch.arange((size + 3) // 4, device=indices.device, dtype=torch.int64)[None, :]
    index = indices.to(torch.int64)[:, None]
    words = philox4x32(
        (block, torch.full_like(index, step), index & _MASK, (index >> 32) | (stage << 16)),
        (seed & _MASK, (seed >> 32) & _MASK),
    )
    # Box-Muller; (w + 0.5) / 2^32 lies strictly inside (0, 1), also after rounding down to float32's nearest below 1.
    u = [((w.double() + 0.5) * 2.0**-32).to(torch.float32).clamp_max(1.0 - 2.0**-24) for w in words]
    r0, r1 = (torch.sqrt(-2.0 * torch.log(v)) for v in (u[0], u[2]))
    a0, a1 = (2.0 * math.pi * v for v in (u[1], u[3]))
    z = torch.stack((r0 * torch.cos(a0), r0 * torch.sin(a0), r1 * torch.cos(a1), r1 * torch.sin(a1)), dim=-1)
    return z.reshape(len(indices), -1)[:, :size].reshape(len(indices), *shape)
