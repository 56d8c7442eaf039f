"""Sinusoidal embeddings of scalars: timestep, noise level, augmentation level."""

import math

import torch
from torch import Tensor, nn

LEVEL_SCALE = 5000.0
"""Factor on noise levels in (0, 1) before their sinusoids (WaveGrad, Chen et al. 2021, section 3)."""


def sinusoidal_embedding(values: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Compute cosines and sines of ``values`` at geometrically spaced frequencies (DDPM; Vaswani et al. 2017).

    Returns (B, dim) float32: ``dim / 2`` cosines, then as many sines.

    Args:
        values: (B,) float.
        dim: even size of the embedding.
        max_period: longest period, in units of ``values``.
    """
    half = dim // 2
    index = torch.arange(half, device=values.device, dtype=torch.float32)
    angles = values.float()[:, None] * torch.exp(-math.log(max_period) / half * index)[None]
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class ScalarEmbedding(nn.Module):
    """Sinusoids of scaled values, then a network of two layers with SiLU between them."""

    def __init__(self, dim: int, out: int, scale: float = 1.0) -> None:
        super().__init__()
        self.dim, self.scale = dim, scale
        self.fc1 = nn.Linear(dim, out)
        self.fc2 = nn.Linear(out, out)

    def forward(self, values: Tensor) -> Tensor:
        """Embed (B,) float values as (B, out)."""
        h = sinusoidal_embedding(values * self.scale, self.dim)
        return self.fc2(nn.functional.silu(self.fc1(h)))
