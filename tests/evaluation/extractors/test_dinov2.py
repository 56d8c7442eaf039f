from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from cdm_kedro.evaluation.extractors.dinov2 import DinoV2, dinov2


def test_network_equals_metas(peer_script: Callable[[str], ModuleType]) -> None:
    """Stored answers of the published code for fixed random weights and images."""
    script = peer_script("compare_dinov2")
    net = DinoV2(384, 12, 6).eval()
    script.randomize(net)
    with torch.no_grad():
        got = net(script.golden_images())[0].numpy()
    with np.load(Path(__file__).with_name("golden_dinov2.npz")) as golden:
        expected = golden["features"]
    assert np.abs(got - expected).max() / np.abs(expected).mean() < 1e-5


def test_blocks_equal_torchs_own_attention() -> None:
    """A block against nn.MultiheadAttention and a plain MLP with the same weights."""
    torch.manual_seed(0)
    block = DinoV2(24, 1, 3, 28).blocks[0]
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    attention = nn.MultiheadAttention(24, 3, batch_first=True)
    attention.load_state_dict(
        {
            "in_proj_weight": block.attn.qkv.weight,
            "in_proj_bias": block.attn.qkv.bias,
            "out_proj.weight": block.attn.proj.weight,
            "out_proj.bias": block.attn.proj.bias,
        }
    )
    x = torch.randn(2, 5, 24)
    h = block.norm1(x)
    y = x + attention(h, h, h, need_weights=False)[0] * block.ls1.gamma
    mlp = nn.Sequential(block.norm2, block.mlp.fc1, nn.GELU(), block.mlp.fc2)
    torch.testing.assert_close(block(x), y + mlp(y) * block.ls2.gamma, atol=1e-4, rtol=1e-4)


def test_weights_are_loaded_by_name_and_refused_otherwise(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    path = tmp_path / "w.pth"
    torch.manual_seed(0)
    state = DinoV2(384, 12, 6).state_dict()
    torch.save(state, path)
    extractor = dinov2("dinov2_vits14", path, 56, cpu)
    features, logits = extractor(np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8))
    assert features.shape == (2, 384) and logits is None and extractor.name == "dinov2_vits14_56px"
    assert len(extractor.weights_sha256) == 64
    with pytest.raises(ValueError, match=r"does not hold dinov2_vitb14 .*; get it from https://"):
        dinov2("dinov2_vitb14", path, 224, cpu)
    state.pop("norm.weight")
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"does not hold dinov2_vits14 \(Missing key.*norm\.weight"):
        dinov2("dinov2_vits14", path, 224, cpu)
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="not a readable PyTorch weights file"):
        dinov2("dinov2_vits14", path, 224, cpu)
    with pytest.raises(
        ValueError, match=r"does not exist; get it from https://dl\.fbaipublicfiles\.com/dinov2/dinov2_"
    ):
        dinov2("dinov2_vits14", tmp_path / "none", 224, cpu)
