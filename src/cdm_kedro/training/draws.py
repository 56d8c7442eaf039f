"""The random numbers of a training step, which depend on seed, step and position in the batch alone."""

import torch
from torch import Tensor

_UNIFORMS = 8  # t, level, flip, augmentation (2), class dropout, crop (2)


def mix_seed(*parts: int) -> int:
    """Mix several integers to a 63-bit seed (SplitMix64's finalizer over a running sum)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class Draws:
    """Draws a function of (seed, step, position in the global batch).

    It draws in blocks of positions, so that a process's share of the batch needs few launches and holds the same
    numbers as that share of the whole.
    """

    def __init__(self, seed: int, batch_size: int, device: torch.device) -> None:
        self.seed, self.device = seed, device
        self.block = batch_size // 32 if batch_size % 32 == 0 else 1
        self._generator = torch.Generator(device)

    def __call__(self, step: int, first: int, count: int, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Draw (count, 8) uniforms and a standard normal (count, *shape) for each shape, from position ``first`` on."""
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
