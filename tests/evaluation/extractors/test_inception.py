from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from cdm_kedro.evaluation.extractors.inception import Inception2015, inception2015, resize_like_tensorflow1

HERE = Path(__file__).parent


def test_network_equals_torch_fidelitys(peer_script: Callable[[str], ModuleType]) -> None:
    """Stored answers of torch-fidelity's network for fixed random weights and images of odd sizes."""
    script = peer_script("compare_inception")
    net = Inception2015().eval()
    script.randomize(net)
    with torch.no_grad():
        answers = [net(images.float()) for images in script.golden_images()]
    with np.load(HERE / "golden_inception.npz") as golden:
        for number, name in enumerate(("features", "logits")):
            expected = golden[name]
            got = torch.cat([answer[number] for answer in answers]).numpy()
            assert np.abs(got - expected).max() / np.abs(expected).mean() < 1e-5


@pytest.mark.parametrize(
    ("height", "width", "side"), [(5, 7, 9), (33, 61, 29), (1, 3, 7), (31, 64, 299), (301, 17, 299)]
)
def test_resize_follows_tensorflow1s_definition(height: int, width: int, side: int) -> None:
    """out[i] is the input at i * size / side, linearly, clamped at the last pixel; here by np.interp in float64."""
    x = np.random.default_rng(0).random((height, width))
    columns = np.stack([np.interp(np.arange(side) * width / side, np.arange(width), row) for row in x])
    expected = np.stack([np.interp(np.arange(side) * height / side, np.arange(height), c) for c in columns.T], 1)
    got = resize_like_tensorflow1(torch.from_numpy(x)[None, None], side)[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=2e-5)  # positions are float32, as TensorFlow's are


def test_network_has_the_published_files_tensors() -> None:
    """Names and sizes of the published conversion (compare_inception.py loads one network's file into the other's)."""
    with torch.device("meta"):
        net = Inception2015()
    state = net.state_dict()
    assert len(state) == 566 and sum(p.numel() for p in net.parameters()) == 23_850_960
    assert state["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert state["Mixed_6a.branch3x3dbl_3.bn.running_var"].shape == (96,)
    assert state["Mixed_7a.branch7x7x3_4.conv.weight"].shape == (192, 192, 3, 3)
    assert state["fc.bias"].shape == (1008,)


def test_only_the_published_file_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pth does not exist; get it from https://"):
        inception2015(tmp_path / "none.pth", torch.device("cpu"))
    (tmp_path / "other.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match="not 6726825d…; get the published file"):
        inception2015(tmp_path / "other.pth", torch.device("cpu"))
