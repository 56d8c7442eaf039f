"""Layers of the U-Net: normalization, residual block, self-attention, resampling, embeddings of scalars, dropout."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVEL_SCALE = 5000.0  # factor on noise levels in (0, 1) before their sinusoids (WaveGrad, Chen et al. 2021, section 3)


def zeros(module: nn.Module) -> nn.Module:
    """Set a layer's parameters to zero, so that a residual branch that ends in it starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def group_norm(channels: int) -> nn.GroupNorm:
    """Make a GroupNorm with 32 groups as in DDPM, or with fewer where a group would have under four channels.

    A group of one channel is instance normalization. It erases the mean, and small models then lose the colours.
    """
    wanted = max(1, min(32, channels // 4))
    return nn.GroupNorm(next(g for g in range(wanted, 0, -1) if channels % g == 0), channels)


class _FusedNorm(torch.autograd.Function):
    """GroupNorm, FiLM and SiLU over channels_last bfloat16 memory on a CPU; see :func:`norm_act`.

    PyTorch's GroupNorm takes up to twenty times as long there as in the contiguous layout, but in the contiguous
    layout convolutions are up to twice as slow. This function sums each channel, then applies one affine map to each.
    It works on a block of images at a time, so that the float32 values stay in the core's cache. The variance is
    E[x^2] - E[x]^2, whose cancellation stays below the rounding of a bfloat16 input. For the backward pass it keeps
    the input and some numbers for each channel.
    """

    BLOCK = 1 << 18  # values in a block, 1 MiB of float32

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, film: Tensor | None, groups: int, eps: float, silu: bool
    ) -> Tensor:
        batch, channels, height, width = x.shape
        images, by_group = max(1, _FusedNorm.BLOCK // (channels * height * width)), (batch, groups, channels // groups)
        count = height * width * (channels // groups)
        sums = torch.empty(2, batch, channels)  # sums of the values and of their squares
        scratch = torch.empty_like(x[:images], dtype=torch.float32)
        blocks = [(x[i : i + images], scratch[: batch - i], slice(i, i + images)) for i in range(0, batch, images)]
        for source, values, block in blocks:
            values.copy_(source)
            torch.sum(values, (2, 3), out=sums[0, block])
            torch.sum(values.square_(), (2, 3), out=sums[1, block])
        mean, square = sums.view(2, *by_group).sum(3, keepdim=True).div_(count).unbind(0)
        rstd = (square - mean * mean).clamp_min_(0).add_(eps).rsqrt_()
        gain, offset, scale = weight.expand(batch, -1), bias.expand(batch, -1), None
        if film is not None:
            scale, shift = film.float().chunk(2, dim=1)
            gain, offset = torch.addcmul(gain, gain, scale), torch.addcmul(offset + shift, offset, scale)
        slope = gain.view(by_group) * rstd
        intercept = (offset.view(by_group) - mean * slope).view(batch, channels, 1, 1)
        slope = slope.view(batch, channels, 1, 1)
        out = torch.empty_like(x)
        gate = torch.empty_like(scratch)
        for source, values, block in blocks:
            torch.addcmul(intercept[block], values.copy_(source), slope[block], out=values)
            if silu:
                values.mul_(torch.sigmoid(values, out=gate[: len(values)]))
            out[block] = values
        ctx.save_for_backward(x, weight, bias, mean, rstd, gain, slope, intercept, scale)
        ctx.images, ctx.count, ctx.silu, ctx.film = images, count, silu, None if film is None else film.dtype
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd, gain, slope, intercept, scale = ctx.saved_tensors
        batch, channels = gain.shape
        by_group = (batch, mean.shape[1], -1)
        sums = torch.empty(2, batch, channels)  # sums of the gradient before SiLU and of its product with the values
        out = torch.empty_like(x)
        scratch = torch.empty(3, *x[: ctx.images].permute(0, 2, 3, 1).shape).permute(0, 1, 4, 2, 3)
        blocks = [(*scratch[:, : batch - i], slice(i, i + ctx.images)) for i in range(0, batch, ctx.images)]
        for values, grad, linear, block in blocks:
            values.copy_(x[block])
            grad.copy_(gradient[block])
            if ctx.silu:
                torch.addcmul(intercept[block], values, slope[block], out=linear)
                torch.ops.aten.silu_backward.grad_input(grad, linear, grad_input=grad)
            out[block] = grad
            torch.sum(grad, (2, 3), out=sums[0, block])
            torch.sum(grad.mul_(values), (2, 3), out=sums[1, block])
        total, product = sums
        product = (rstd * (product.view(by_group) - mean * total.view(by_group))).view(batch, channels)  # normalized
        group_sums = (gain * torch.stack((total, product))).view(2, *by_group).sum(3, keepdim=True)
        mean_grad, mean_product = group_sums.div_(ctx.count).unbind(0)
        on_values = -(rstd * rstd) * mean_product
        constant = -rstd * mean_grad - mean * on_values
        ones = torch.ones(batch, mean.shape[1], channels // mean.shape[1])
        on_values, constant = ((v * ones).view(batch, channels, 1, 1) for v in (on_values, constant))
        for values, grad, _, block in blocks:
            torch.addcmul(constant[block], grad.copy_(out[block]), slope[block], out=grad)
            out[block] = grad.addcmul_(values.copy_(x[block]), on_values[block])
        film = None
        if scale is not None:
            film = torch.cat((torch.addcmul(total * bias, product, weight), total), dim=1).to(ctx.film)
            product, total = torch.addcmul(product, product, scale), torch.addcmul(total, total, scale)
        return out, product.sum(0), total.sum(0), film, None, None, None


def norm_act(norm: nn.GroupNorm, x: Tensor, film: Tensor | None = None, silu: bool = True) -> Tensor:
    """Compute silu(norm(x) * (1 + scale) + shift).

    Returns (B, C, H, W) in the type of ``x``. ``norm``: affine GroupNorm. ``x``: (B, C, H, W). ``film``: (B, 2C), the
    scale and then the shift; None for neither. ``silu``: whether SiLU follows.
    """
    if x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.is_contiguous(memory_format=torch.channels_last):
        return _FusedNorm.apply(x, norm.weight, norm.bias, film, norm.num_groups, norm.eps, silu)
    h = norm(x)
    if film is not None:
        scale, shift = film[:, :, None, None].to(h.dtype).chunk(2, dim=1)
        h = h * (1 + scale) + shift
    return F.silu(h) if silu else h


class Resample(nn.Module):
    """Twofold down- or upsampling with a 3x3 convolution (DDPM)."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor, *unused: Tensor | None) -> Tensor:
        """Resample x, (B, C, H, W), to (B, C, 2H, 2W) or (B, C, H/2, W/2)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


def residual(x: Tensor, h: Tensor, scaled: bool) -> Tensor:
    """Add a residual layer's branch h to its input x; divided by the square root of 2 the variance stays (SR3)."""
    return (x + h) * 0.5**0.5 if scaled else x + h


class ResBlock(nn.Module):
    """Residual block that takes an embedding in before its second convolution.

    ``scale_shift``: take the embedding as scale and shift after GroupNorm (Improved DDPM) instead of adding it (DDPM).
    ``resample``: "up" or "down" makes the block resample both branches twofold (ADM; BigGAN). ``shortcut``: have a 1x1
    convolution beside the branch even where the channels stay (BigGAN's resampling blocks). ``skip_scaling``: see
    :func:`residual`.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        emb_dim: int,
        dropout_rate: float = 0.0,
        scale_shift: bool = True,
        resample: str | None = None,
        shortcut: bool = False,
        skip_scaling: bool = False,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample, self.skip_scaling = scale_shift, resample, skip_scaling
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.emb = nn.Linear(emb_dim, 2 * out if scale_shift else out)
        self.norm2 = group_norm(out)
        self.dropout, self.number = dropout_rate, 0  # the U-Net numbers its blocks
        self.conv2 = zeros(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if channels == out and not shortcut else nn.Conv2d(channels, out, 1)

    def _resample(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x: Tensor, emb: Tensor, dropout_keys: Tensor | None = None) -> Tensor:
        """Map x, (B, channels, H, W), and emb, (B, emb_dim) after SiLU, to (B, out, H', W').

        Without ``dropout_keys``, (B,) int32, the masks of dropout come from PyTorch's own generator.
        """
        h = self.conv1(self._resample(norm_act(self.norm1, x)))
        e = self.emb(emb)
        if self.scale_shift:
            h = norm_act(self.norm2, h, e)
        else:
            h = norm_act(self.norm2, h + e[:, :, None, None].to(h.dtype))
        if self.training and self.dropout > 0:
            keys, rate = dropout_keys, self.dropout
            h = F.dropout(h, rate) if keys is None else dropout(h, rate, keys, self.number)
        h = self.conv2(h)
        return residual(self.skip(self._resample(x)), h, self.skip_scaling)


class Attention(nn.Module):
    """Self-attention over the pixels of a feature map, with a residual connection.

    The rows of ``qkv`` are ordered (3, heads, channels / heads).
    """

    def __init__(self, channels: int, num_heads: int, skip_scaling: bool = False) -> None:
        super().__init__()
        self.num_heads, self.skip_scaling = num_heads, skip_scaling
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = zeros(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, *unused: Tensor | None) -> Tensor:
        """Attend over x, (B, C, H, W), which keeps its shape."""
        b, c, height, width = x.shape
        qkv = self.qkv(norm_act(self.norm, x, silu=False))
        qkv = qkv.reshape(b, 3, self.num_heads, c // self.num_heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        if x.device.type == "cpu" and torch.is_grad_enabled():  # the CPU's flash attention has a slow backward pass
            h = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1) @ v
        else:
            # Flash kernels take (B, heads, H * W, channels of a head) whose last stride is 1, as in channels_last.
            h = F.scaled_dot_product_attention(*(p if p.stride(-1) == 1 else p.contiguous() for p in (q, k, v)))
        h = h.transpose(1, 2).reshape(b, height, width, c).permute(0, 3, 1, 2)
        return residual(x, self.proj(h), self.skip_scaling)


def sinusoidal_embedding(values: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Compute cosines and sines of ``values`` at geometrically spaced frequencies (DDPM; Vaswani et al. 2017).

    Returns (B, dim) float32: ``dim / 2`` cosines, then as many sines, of the (B,) float values; ``dim`` is even.
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
        return self.fc2(F.silu(self.fc1(h)))


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

    The mask is a function of the example's key, the layer and the place in the feature map, so that it does not depend
    on microbatches or devices: a few integer operations a value, which a compiler fuses with what is around them.
    ``x``: (B, C, H, W). ``rate``: share of zeros. ``keys``: (B,) int32, of :func:`dropout_keys`. ``layer``: number of
    the layer that asks.
    """
    _, channels, height, width = x.shape
    places = torch.arange(channels * height * width, dtype=torch.int32, device=x.device)
    places = _scramble(places).view(height, width, channels).permute(2, 0, 1)
    words = _scramble(places ^ _scramble(keys ^ layer)[:, None, None, None])
    return x * (words >= int(rate * 2**32) - 2**31) * (1 / (1 - rate))
