"""The U-Net: shapes, conditions, the sizes of Appendix B."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.layers import Attention, ResBlock
from cdm_kedro.params.model import TrainedModelParams, parse_model
from tiny_unet import inputs, perturbed, tiny_unet

ROOT = Path(__file__).resolve().parents[2]


VARIANTS = [
    {},
    {"num_classes": 5, "learned_variances": True, "scale_shift_norm": False},
    {"num_classes": 5, "low_res": True, "aug_conditioning": True, "noise_conditioning": "continuous"},
    {"resblock_updown": True, "num_head_channels": 4, "low_res": True, "low_res_interpolation": "bicubic"},
    {"resblock_updown": "biggan", "skip_scaling": True, "low_res": True, "noise_conditioning": "continuous"},
]


@pytest.mark.parametrize("extra", VARIANTS)
def test_shapes_zero_start_and_gradients_everywhere(extra: dict[str, Any]) -> None:
    net = tiny_unet(**extra)
    x = inputs(net)
    out = net(*x)
    assert out.shape == (2, 6 if extra.get("learned_variances") else 3, 16, 16)
    assert not out.any()  # the last convolution starts at zero
    perturbed(net)(*x).square().mean().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.any(), name


def test_every_condition_changes_the_output() -> None:
    net = perturbed(tiny_unet(num_classes=5, low_res=True, aug_conditioning=True)).eval()
    x = inputs(net)
    base = net(*x)
    for position, other in ((1, x[1] + 100), (2, x[2] + 1), (3, x[3] + 1), (4, x[4] + 7)):
        changed = list(x)
        changed[position] = other
        assert not torch.allclose(net(*changed), base, atol=1e-5), position


def test_null_class() -> None:
    net = perturbed(tiny_unet(num_classes=5, class_dropout=0.1)).eval()
    x, cond = inputs(net)[:2]
    torch.testing.assert_close(net(x, cond), net(x, cond, torch.tensor([5, 5])))
    with pytest.raises(ValueError, match="needs y"):
        tiny_unet(num_classes=5)(x, cond)
    with pytest.raises(ValueError, match="low_res"):
        tiny_unet(low_res=True)(x, cond)


def test_checkpointing_gives_the_same_gradients() -> None:
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = perturbed(tiny_unet(num_classes=5, checkpointing=checkpointing))
        net(*inputs(net)).square().mean().backward()
        grads.append([p.grad for p in net.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_skip_scaling_reaches_every_residual_layer_and_biggans_shortcut_every_resampling_one() -> None:
    """While their last layers are zero, a residual layer's output is its resampled input over the square root of 2."""
    net = tiny_unet(resblock_updown="biggan", skip_scaling=True).eval()
    seen: list[str] = []

    def check(module: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        x = given[0]
        if isinstance(module, ResBlock):
            x = module.skip(module._resample(x))
            assert isinstance(module.skip, torch.nn.Conv2d) or module.resample is None
        torch.testing.assert_close(out, x / 2**0.5)
        seen.append(getattr(module, "resample", None) or type(module).__name__)

    for module in net.modules():
        if isinstance(module, (ResBlock, Attention)):
            module.register_forward_hook(check)
    net(*inputs(net))
    assert Counter(seen) == {"ResBlock": 8, "Attention": 4, "up": 1, "down": 1}


def test_network_choices_of_sr3_leave_older_descriptions_as_they_are() -> None:
    """Weights carry their parameters; a new setting at its default must not change their bytes."""
    raw = yaml.safe_load((ROOT / "conf/imagenet/parameters_base32.yml").read_text())["base32"]
    assert "skip_scaling" not in TrainedModelParams.model_validate(raw).model_dump_json()
    scaled = TrainedModelParams.model_validate({**raw, "unet": {**raw["unet"], "skip_scaling": True}})
    assert parse_model(json.loads(scaled.model_dump_json())) == scaled


def test_the_ablation_s_16_to_64_model_is_the_baseline_with_one_input_and_s_more() -> None:
    """Section 4.3: the architecture is the 64 px baseline's, with the low-resolution input; ours also receives s."""
    baseline = 273_049_350  # of the published Improved DDPM network, tests/model/openai_shapes.json.gz
    raw = yaml.safe_load((ROOT / "conf/iddpm/parameters_base64.yml").read_text())["base64"]
    augmentation = {"kind": "gaussian", "timesteps": 4000, "s": 1001}
    params = parse_model({**raw, "low": "base16", "low_resolution": 16, "augmentation": augmentation})
    with torch.device("meta"):
        net = build_unet(params, 1000)
        out = net(
            torch.empty(2, 3, 64, 64), torch.empty(2), torch.empty(2, dtype=torch.int64), torch.empty(2, 3, 16, 16),
            torch.empty(2),
        )  # fmt: skip
    assert out.shape == (2, 6, 64, 64)
    added = 3 * 192 * 9 + (192 * 768 + 768) + (768 * 768 + 768)
    assert sum(p.numel() for p in net.parameters()) == baseline + added


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_low_resolution_input_is_upsampled_and_concatenated_to_the_noisy_image(mode: str) -> None:
    """Against the interpolation kernels evaluated at half-pixel centres (cubic convolution with a = -0.75)."""
    net = tiny_unet(low_res=True, low_res_interpolation=mode)
    x, low = torch.randn(1, 3, 16, 16), torch.rand(1, 3, 8, 8)
    seen: list[torch.Tensor] = []
    net.conv_in.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    net(x, torch.zeros(1), low_res=low)

    def kernel(d: np.ndarray) -> np.ndarray:
        d = np.abs(d)
        if mode == "bilinear":
            return np.clip(1 - d, 0, None)
        a = -0.75
        near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    centres = (np.arange(16) + 0.5) / 2 - 0.5
    weights = np.zeros((16, 8))
    for tap in range(-3, 12):  # taps outside repeat the border
        weights[:, min(max(tap, 0), 7)] += kernel(centres - tap)
    expected = np.einsum("yi,xj,bcij->bcyx", weights, weights, low.numpy())
    np.testing.assert_allclose(seen[0][:, 3:].numpy(), expected, atol=1e-6)
    assert torch.equal(seen[0][:, :3], x)


def parameters_by_hand(p: dict[str, Any], classes: int, low: bool, aug: bool, learned: bool) -> int:
    """Parameter count by an independent rule: convolution a*b*k^2 + b, linear a*b + b, GroupNorm 2c."""
    c, emb = p["channels"], 4 * p["channels"]

    def conv(a: int, b: int, k: int) -> int:
        return a * b * k * k + b

    def res(a: int, b: int) -> int:
        shortcut = conv(a, b, 1) if a != b else 0
        return 2 * a + conv(a, b, 3) + emb * 2 * b + 2 * b + 2 * b + conv(b, b, 3) + shortcut

    def resampled(a: int) -> int:
        return res(a, a) + conv(a, a, 1) if p.get("resblock_updown") == "biggan" else conv(a, a, 3)

    def att(a: int) -> int:
        return 2 * a + conv(a, 3 * a, 1) + conv(a, a, 1)

    scalar = c * emb + emb + emb * emb + emb
    total = scalar * (1 + aug) + classes * emb + conv(6 if low else 3, c, 3)
    width, skips, side = c, [c], p["resolution"]
    mults, blocks = p["channel_mult"], p["num_res_blocks"]
    for level, m in enumerate(mults):
        for _ in range(blocks):
            total += res(width, m * c) + (att(m * c) if side in p["attention_resolutions"] else 0)
            width = m * c
            skips.append(width)
        if level < len(mults) - 1:
            total += resampled(width)
            skips.append(width)
            side //= 2
    total += 2 * res(width, width) + att(width)
    for level in reversed(range(len(mults))):
        for i in range(blocks + 1):
            m = mults[level]
            total += res(width + skips.pop(), m * c) + (att(m * c) if side in p["attention_resolutions"] else 0)
            width = m * c
            if level and i == blocks:
                total += resampled(width)
                side *= 2
    return total + 2 * width + conv(width, 6 if learned else 3, 3)


@pytest.mark.parametrize(("stage", "billions"), [("base32", 0.8), ("sr64", 0.7), ("sr128", 0.55), ("sr256", 0.625)])
def test_appendix_b_models(stage: str, billions: float) -> None:
    raw = yaml.safe_load((ROOT / f"conf/imagenet/parameters_{stage}.yml").read_text())[stage]
    params = TrainedModelParams.model_validate(raw)
    with torch.device("meta"):
        net = build_unet(params, 1000)
    count = sum(p.numel() for p in net.parameters())
    hand = parameters_by_hand(
        {**raw["unet"], "resolution": params.resolution},
        1000,
        params.low is not None,
        stage == "sr64",
        params.diffusion.learned_variances,
    )
    assert count == hand
    assert {m.num_groups for m in net.modules() if isinstance(m, torch.nn.GroupNorm)} == {32}
    assert count / 1e9 == pytest.approx(billions, abs=0.1), json.dumps(count)
