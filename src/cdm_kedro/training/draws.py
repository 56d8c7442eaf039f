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
        drawn = [torch.empty(count, *shape, device=self.device) for shape in ((_UNIFORMS,), *shapes)]
        for start in range(first - first % self.block, first + count, self.block):
            self._generator.manual_seed(mix_seed(self.seed, step, start // self.block))
            low, high = max(start, first), min(start + self.block, first + count)
            for number, out in enumerate(drawn):
                rows = out[low - first : high - first]
                # A part of a block is cut from the whole block, so that a position's numbers are always the same.
                block = rows if len(rows) == self.block else out.new_empty(self.block, *out.shape[1:])
                block.normal_(generator=self._generator) if number else block.uniform_(generator=self._generator)
                if block is not rows:
                    rows.copy_(block[low - start : high - start])
        return tuple(drawn)
