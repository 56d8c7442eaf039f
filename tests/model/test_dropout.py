"""Masks of dropout against the same words in NumPy's unsigned integers, and what a mask must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdm_kedro.model.layers import dropout, dropout_keys
from tiny_unet import inputs, perturbed, tiny_unet

CPU = torch.device("cpu")


def scrambled(words: np.ndarray) -> np.ndarray:
    words = words.astype(np.uint32)
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x7FEB352D)
    return (words ^ (words >> np.uint32(15))) * np.uint32(0x846CA68B)


def kept(rate: float, keys: torch.Tensor, layer: int, shape: tuple[int, int, int]) -> np.ndarray:
    """(B, C, H, W) bool; int32 and uint32 are the same words, ordered from -2^31 and from 0."""
    channels, height, width = shape
    h, w, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    places = scrambled(((h * width + w) * channels + c).transpose(2, 0, 1))
    own = scrambled(keys.numpy().view(np.uint32) ^ np.uint32(layer))
    return scrambled(places[None] ^ own[:, None, None, None]) + np.uint32(2**31) >= int(rate * 2**32)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.9])
def test_masks_are_those_words_in_any_memory_layout(rate: float) -> None:
    keys, x = dropout_keys(5, 0, 6, CPU), torch.randn(6, 8, 4, 12)
    mask = torch.from_numpy(kept(rate, keys, 3, (8, 4, 12)))
    for layout in (torch.contiguous_format, torch.channels_last):
        out = dropout(x.contiguous(memory_format=layout), rate, keys, 3)
        torch.testing.assert_close(out, torch.where(mask, x / (1 - rate), 0.0))


def test_an_example_keeps_its_mask_in_any_batch() -> None:
    whole = dropout_keys(7, 0, 64, CPU)
    parts = [dropout_keys(7, first, count, CPU) for first, count in ((0, 1), (1, 30), (31, 33))]
    assert torch.equal(torch.cat(parts), whole) and len(whole.unique()) == 64
    assert not set(whole.tolist()) & set(dropout_keys(8, 0, 64, CPU).tolist())
    x = torch.randn(64, 4, 6, 6)
    one_by_one = [dropout(x[i : i + 1], 0.3, dropout_keys(7, i, 1, CPU), 2) for i in range(64)]
    assert torch.equal(torch.cat(one_by_one), dropout(x, 0.3, whole, 2))


def test_masks_have_their_rate_and_nothing_in_common() -> None:
    keys, rate = dropout_keys(1, 0, 64, CPU), 0.1
    ones = torch.ones(64, 32, 16, 16)
    masks = torch.stack([dropout(ones, rate, keys, layer) > 0 for layer in (0, 1)]).double()
    error = 5 / masks[0].numel() ** 0.5
    assert float(1 - masks.mean()) == pytest.approx(rate, abs=error * (rate * (1 - rate)) ** 0.5)
    assert float(dropout(ones, rate, keys, 0).mean()) == pytest.approx(1, abs=error)
    first = masks[0]
    pairs = [(first, masks[1]), (first[1:], first[:-1])]  # layers; examples side by side
    pairs += [(first.narrow(d, 1, first.shape[d] - 1), first.narrow(d, 0, first.shape[d] - 1)) for d in (1, 2, 3)]
    for a, b in pairs:
        assert abs(float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1])) < 1.1 * error


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_network_drops_by_key_in_training_alone(checkpointing: bool) -> None:
    net = perturbed(tiny_unet(dropout=0.5, checkpointing=checkpointing))
    x, keys = inputs(net, 4), dropout_keys(3, 0, 4, CPU)
    out = net(*x, dropout_keys=keys)
    out.square().mean().backward()  # a recomputed pass drops the same
    again = [net(*[None if v is None else v[i : i + 1] for v in x], dropout_keys=keys[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(torch.cat(again), out)
    assert not torch.allclose(net(*x, dropout_keys=keys + 1), out, atol=1e-2)
    net.eval()
    assert torch.equal(net(*x, dropout_keys=keys), net(*x))
