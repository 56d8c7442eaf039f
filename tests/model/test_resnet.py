"""ResNets have the published sizes and compute what their definition says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from cdm_kedro.model.resnet import ResNet


@pytest.mark.parametrize(
    ("depth", "parameters", "gmacs"),
    [(18, 11_689_512, 1.814), (34, 21_797_672, 3.664), (50, 25_557_032, 4.089), (101, 44_549_160, 7.801)],
)
def test_networks_have_the_published_sizes(depth: int, parameters: int, gmacs: float) -> None:
    """Parameters and multiply-adds at 224 pixels, as the common ResNet weights' cards state them."""
    with torch.device("meta"):
        net = ResNet(depth, 1000, 224)
        assert sum(p.numel() for p in net.parameters()) == parameters
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.001)


def test_bottleneck_network_against_its_definition() -> None:
    """ResNet-50 at 128 pixels, written out with functional calls over its own weights."""
    torch.manual_seed(0)
    net = ResNet(50, 7, 128, width=8).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.3, 1)
    s = net.state_dict()

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, gain, bias = (s[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None] * gain[:, None, None] + bias[
            :, None, None
        ]

    x = torch.randn(2, 3, 128, 128)
    h = F.max_pool2d(bn(F.conv2d(x, s["stem.weight"], None, 2, 3), "norm").relu(), 3, 2, 1)
    number = 0
    for stage, count in enumerate((3, 4, 6, 3)):
        for block in range(count):
            p, stride = f"blocks.{number}", 2 if stage > 0 and block == 0 else 1
            y = bn(F.conv2d(h, s[f"{p}.convs.0.weight"]), f"{p}.norms.0").relu()
            y = bn(F.conv2d(y, s[f"{p}.convs.1.weight"], None, stride, 1), f"{p}.norms.1").relu()
            y = bn(F.conv2d(y, s[f"{p}.convs.2.weight"]), f"{p}.norms.2")
            if block == 0:
                h = bn(F.conv2d(h, s[f"{p}.shortcut.0.weight"], None, stride), f"{p}.shortcut.1")
            h, number = (h + y).relu(), number + 1
    assert h.shape == (2, 256, 4, 4)
    expected = h.mean((2, 3)) @ s["head.weight"].T + s["head.bias"]
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("resolution", "side"), [(32, 32), (64, 32), (128, 32), (256, 64)])
def test_the_stem_suits_the_images(resolution: int, side: int) -> None:
    net = ResNet(18, 3, resolution, width=4)
    assert net.pool(net.stem(torch.zeros(1, 3, resolution, resolution))).shape[-1] == side
