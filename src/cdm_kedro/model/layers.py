"""Layers of the U-Net: residual block, self-attention, resampling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def zeros(module: nn.Module) -> nn.Module:
    """Zero a layer's parameters, so that its branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups as in DDPM, fewer where a group would have under four channels.

    A group of one channel is instance normalization, which erases the mean: small models then lose the colours.
    """
    wanted = max(1, min(32, channels // 4))
    return nn.GroupNorm(next(g for g in range(wanted, 0, -1) if channels % g == 0), channels)


class Resample(nn.Module):
    """Plain twofold down- or upsampling with a 3x3 convolution (DDPM)."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W) or (B, C, H/2, W/2)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


class ResBlock(nn.Module):
    """Residual block with an embedding injected before the second convolution.

    Args:
        channels: input channels.
        out: output channels.
        emb_dim: size of the embedding.
        dropout: before the second convolution.
        scale_shift: inject as scale and shift after GroupNorm (Improved DDPM) instead of by addition (DDPM).
        resample: "up" or "down" makes the block resample both branches twofold (ADM).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        emb_dim: int,
        dropout: float = 0.0,
        scale_shift: bool = True,
        resample: str | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.emb = nn.Linear(emb_dim, 2 * out if scale_shift else out)
        self.norm2 = group_norm(out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeros(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def _resample(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """X (B, channels, H, W), emb (B, emb_dim) after SiLU; returns (B, out, H', W')."""
        h = self.conv1(self._resample(F.silu(self.norm1(x))))
        e = self.emb(emb)[:, :, None, None].to(h.dtype)
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + e)
        h = self.conv2(self.dropout(F.silu(h)))
        return self.skip(self._resample(x)) + h


class Attention(nn.Module):
    """Self-attention over the pixels of a feature map, with a residual connection.

    The rows of ``qkv`` are ordered (3, heads, channels / heads).
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = zeros(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.num_heads, c // self.num_heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj(h.transpose(-1, -2).reshape(b, c, height, width))
