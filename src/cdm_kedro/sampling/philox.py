"""Counter-based Gaussian noise: Philox4x32-10 (Salmon et al., 2011) in tensor operations, on any device.

The noise of sample i of model k at step t is a function of (seed, k, i, t) alone. Batch size, number of processes,
order and interruption do not change it.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

from cdm_kedro.model.execution import compiled

Word: TypeAlias = Tensor | int
_MASK = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def _half_round(product: Tensor, word: Tensor, key: Word) -> Tensor:
    """Mix the upper half of a product with the lower halves of a word and a key; the upper half of the result is 0."""
    high = product >> 32
    # A counter's words start out broadcast, so the first two rounds touch few numbers; the others work in place.
    mixed = high.bitwise_xor_(word) if high.shape == word.shape else high ^ word
    return mixed.bitwise_xor_(key).bitwise_and_(_MASK)


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Word, Word]) -> tuple[Tensor, ...]:
    """Run ten rounds of Philox4x32.

    Returns four int64 tensors of random unsigned 32-bit words, of the common shape. ``counter``: four int64 tensors
    holding unsigned 32-bit words, of one shape or broadcastable to it. ``key``: two unsigned 32-bit words, as numbers
    or as int64 tensors without dimensions.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64, which leaves both 32-bit halves right; masking waits until a word is mixed.
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = _half_round(p1, c1, k0), p1, _half_round(p0, c3, k1), p0
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1.bitwise_and_(_MASK), c2, c3.bitwise_and_(_MASK)


def normal(seed: int, model: int, indices: Tensor, step: int, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal noise for several samples.

    Returns (B, *shape) float32 on the device of ``indices``. ``seed``: of the run, 0 .. 2^64 - 1. ``model``: position
    of the model in the cascade, 0 .. 2^16 - 1. ``indices``: (B,) int64 sample numbers, 0 .. 2^48 - 1. ``step``: number
    of the draw within the model, 0 .. 2^32 - 1.
    """
    size = math.prod(shape)
    block = torch.arange((size + 3) // 4, device=indices.device, dtype=torch.int64)[None, :]
    index = indices.to(torch.int64)[:, None]
    counter = (block, torch.full_like(index, step), index & _MASK, (index >> 32) | (model << 16))
    words = _generator(indices.device)(counter, _key(seed, indices.device))
    # Box-Muller; (w + 0.5) / 2^32 lies strictly inside (0, 1), also after rounding down to float32's nearest below 1.
    u = [w.double().add_(0.5).to(torch.float32).mul_(2.0**-32).clamp_max_(1.0 - 2.0**-24) for w in words]
    z = torch.empty(len(indices), block.shape[1], 4, device=indices.device)
    for k in (0, 2):
        radius, angle = u[k].log_().mul_(-2.0).sqrt_(), u[k + 1].mul_(2.0 * math.pi)
        torch.mul(radius, angle.cos(), out=z[..., k])
        torch.mul(radius, angle.sin_(), out=z[..., k + 1])
    return z.reshape(len(indices), -1)[:, :size].reshape(len(indices), *shape)


@cache
def _generator(device: torch.device) -> Callable[..., tuple[Tensor, ...]]:
    """The generator for a device. On CUDA its hundred integer operations are compiled to one kernel with equal bits."""
    return compiled(philox4x32, "the noise generator") if device.type == "cuda" else philox4x32


@cache
def _key(seed: int, device: torch.device) -> tuple[Word, Word]:
    """The two words of a seed. On CUDA they are tensors, as a compiled function would be compiled for every number."""
    low, high = seed & _MASK, (seed >> 32) & _MASK
    if device.type != "cuda":
        return low, high
    return torch.tensor(low, device=device), torch.tensor(high, device=device)
