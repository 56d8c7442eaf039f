"""Layers against plain computations: the channels_last norm for CPUs, attention, groups."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cdm_kedro.model import layers


@pytest.mark.parametrize(("channels", "film", "silu"), [(24, True, True), (64, False, True), (16, False, False)])
def test_fused_norm_equals_group_norm_film_and_silu(
    monkeypatch: pytest.MonkeyPatch, channels: int, film: bool, silu: bool
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(layers._FusedNorm, "BLOCK", 2 * channels * 33 * 17)  # two images a block, the last holds one
    calls = []
    fused = layers._FusedNorm.apply
    monkeypatch.setattr(layers._FusedNorm, "apply", lambda *a: (calls.append(1), fused(*a))[1])
    norm = layers.group_norm(channels)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (3 * torch.randn(5, channels, 33, 17) + 1).bfloat16().contiguous(memory_format=torch.channels_last)
    e, gradient = torch.randn(5, 2 * channels).bfloat16(), torch.randn(5, channels, 33, 17).bfloat16()

    exact = layers.group_norm(channels).double()
    exact.load_state_dict(norm.state_dict())
    results = []
    for module, value, embedding in ((norm, x, e), (exact, x.double(), e.double())):
        leaves = [value.requires_grad_(), *module.parameters(), *([embedding.requires_grad_()] if film else [])]
        out = layers.norm_act(module, value, embedding if film else None, silu)
        results.append([out, *torch.autograd.grad(out, leaves, gradient.to(out.dtype))])
    assert len(calls) == 1  # the float64 one went the plain way
    assert results[0][0].is_contiguous(memory_format=torch.channels_last)
    for got, wanted in zip(*results, strict=True):
        rounding = 2e-2 if got.dtype == torch.bfloat16 else 1e-5  # of values up to the largest
        torch.testing.assert_close(got.double(), wanted, rtol=rounding, atol=rounding * wanted.abs().max().item() / 4)


def test_fused_norm_survives_a_constant_channel() -> None:
    norm = layers.group_norm(8)
    x = torch.full((2, 8, 4, 4), 300.0).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    out = layers.norm_act(norm, x, silu=False)
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(x.grad).all()


def test_attention_is_the_same_with_and_without_gradients_and_in_both_layouts() -> None:
    torch.manual_seed(0)
    layer = layers.Attention(16, 4)
    torch.nn.init.normal_(layer.proj.weight)
    x, emb = torch.randn(2, 16, 5, 7), torch.zeros(2, 1)
    wanted = layer(x, emb)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, emb), wanted)
    layer = layer.to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last), emb), wanted)


def test_flash_kernels_get_the_strides_that_they_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise PyTorch falls back to products that hold the whole attention matrix. Nothing is copied needlessly."""
    strides, attend = [], F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *qkv: strides.append([x.stride() for x in qkv]) or attend(*qkv)
    )
    x = torch.randn(2, 16, 5, 7)
    with torch.no_grad():
        for layout in (torch.contiguous_format, torch.channels_last):
            layer = layers.Attention(16, 4).to(memory_format=layout)
            layer(x.contiguous(memory_format=layout), torch.zeros(2, 1))
    assert all(stride[-1] == 1 for each in strides for stride in each)
    assert {stride[-2] for stride in strides[1]} == {3 * 16}  # views of what one convolution made


def test_attention_against_an_einsum_in_float64() -> None:
    torch.manual_seed(0)
    layer = layers.Attention(12, 3).double()
    torch.nn.init.normal_(layer.proj.weight)
    x = torch.randn(2, 12, 4, 5, dtype=torch.float64)
    h = F.group_norm(x, layer.norm.num_groups, layer.norm.weight, layer.norm.bias)
    q, k, v = (
        torch.einsum("oi,bihw->bohw", layer.qkv.weight[:, :, 0, 0], h)
        .add(layer.qkv.bias[:, None, None])
        .reshape(2, 3, 3, 4, 20)
        .unbind(1)
    )
    w = torch.softmax(torch.einsum("bhcq,bhck->bhqk", q, k) / 2, -1)
    out = torch.einsum("bhqk,bhck->bhcq", w, v).reshape(2, 12, 4, 5)
    expected = x + torch.einsum("oi,bihw->bohw", layer.proj.weight[:, :, 0, 0], out) + layer.proj.bias[:, None, None]
    torch.testing.assert_close(layer(x, torch.empty(0)), expected)


def test_group_norm_never_normalizes_single_channels() -> None:
    for channels in (8, 16, 24, 32, 48, 64, 128, 192, 256, 1024):
        norm = layers.group_norm(channels)
        assert channels // norm.num_groups >= 4 and (channels < 128 or norm.num_groups == 32)


def plain_conv(x: torch.Tensor, conv: torch.nn.Conv2d) -> torch.Tensor:
    """A convolution as sums over shifted images, in float64."""
    weight, (k, _) = conv.weight.double(), conv.kernel_size
    padded, (height, width) = F.pad(x, (k // 2,) * 4), x.shape[-2:]
    shifted = [padded[..., i : i + height, j : j + width] for i in range(k) for j in range(k)]
    out = sum(torch.einsum("oi,bihw->bohw", weight.flatten(2)[..., n], each) for n, each in enumerate(shifted))
    return out + conv.bias.double()[:, None, None]


def plain_norm_silu(x: torch.Tensor, norm: torch.nn.GroupNorm, film: torch.Tensor | None = None) -> torch.Tensor:
    groups = x.reshape(len(x), norm.num_groups, -1)
    centred = groups - groups.mean(2, keepdim=True)
    h = (centred / (centred.square().mean(2, keepdim=True) + norm.eps).sqrt()).reshape(x.shape)
    h = h * norm.weight.double()[:, None, None] + norm.bias.double()[:, None, None]
    if film is not None:
        scale, shift = film[:, :, None, None].chunk(2, 1)
        h = h * (1 + scale) + shift
    return h / (1 + torch.exp(-h))


@pytest.mark.parametrize("scale_shift", [True, False])
@pytest.mark.parametrize(("resample", "out"), [(None, 16), (None, 8), ("up", 16), ("down", 16)])
def test_sr3s_residual_block_against_plain_sums_in_float64(resample: str | None, out: int, scale_shift: bool) -> None:
    """BigGAN's block as Song et al. 2021 (NCSN++) and SR3 use it: norm, SiLU, resampling, convolution, embedding, norm,
    SiLU, convolution; beside it resampling and a 1x1 convolution; the sum divided by the square root of 2."""
    torch.manual_seed(0)
    block = layers.ResBlock(16, out, 12, scale_shift=scale_shift, resample=resample, shortcut=True, skip_scaling=True)
    for p in block.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x, emb = torch.randn(2, 16, 6, 4), torch.randn(2, 12)

    def resampled(h: torch.Tensor) -> torch.Tensor:
        if resample == "up":
            return h.repeat_interleave(2, 2).repeat_interleave(2, 3)
        if resample == "down":
            return (h[..., ::2, ::2] + h[..., 1::2, ::2] + h[..., ::2, 1::2] + h[..., 1::2, 1::2]) / 4
        return h

    e = emb.double() @ block.emb.weight.double().T + block.emb.bias.double()
    h = plain_conv(resampled(plain_norm_silu(x.double(), block.norm1)), block.conv1)
    h = plain_norm_silu(h, block.norm2, e) if scale_shift else plain_norm_silu(h + e[:, :, None, None], block.norm2)
    wanted = (plain_conv(resampled(x.double()), block.skip) + plain_conv(h, block.conv2)) / 2**0.5
    torch.testing.assert_close(block(x, emb).double(), wanted, atol=1e-4, rtol=1e-4)
