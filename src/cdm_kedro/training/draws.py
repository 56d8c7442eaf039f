"""Random numbers of a training step as functions of seed, step and position in the batch."""

from __future__ import annotations

import torch
from torch import Tensor

_UNIFORMS = 8  # t, level, flip, augmentation (2), class dropout, crop (2)


def mix_seed(*parts: int) -> int:
    """Well-spread 63-bit seed of several integers (SplitMix64's finalizer over a running sum)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class Draws:
    """Random numbers of a step, a function of (seed, step, position in the global batch) alone.

    Drawn in blocks, so that a share of the batch costs few launches and equals that share of the whole.
    """

    def __init__(self, seed: int, batch_size: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        self.block = batch_size // 32 if batch_size % 32 == 0 else 1
        self._generator = torch.Generator(device)

    def __call__(self, step: int, first: int, count: int, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Uniforms (count, 8), then one normal tensor (count, *shape) for each shape."""
        if first % self.block or count % self.block:
            self.block = 1
        uniforms = torch.empty(count, _UNIFORMS, device=self.device)
        normals = [torch.empty(count, *shape, device=self.device) for shape in shapes]
        for start in range(0, count, self.block):
            self._generator.manual_seed(mix_seed(self.seed, step, (first + start) // self.block))
            rows = slice(start, start + self.block)
            uniforms[rows].uniform_(generator=self._generator)
            for normal in normals:
                normal[rows].normal_(generator=self._generator)
        return uniforms, *normals
