from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_kedro.evaluation.inception import Inception2015, inception2015, resize_like_tensorflow1


def test_resize_follows_tensorflow1s_definition() -> None:
    """out[i] samples the input at i * size / side, linearly, clamped at the last pixel; here as a loop in float64."""
    x = np.random.default_rng(0).random((5, 7))
    expected = np.zeros((9, 9))
    for i in range(9):
        for j in range(9):
            v, u = i * 5 / 9, j * 7 / 9
            a, b = int(v), int(u)
            c, d = min(a + 1, 4), min(b + 1, 6)
            top = x[a, b] * (1 - (u - b)) + x[a, d] * (u - b)
            low = x[c, b] * (1 - (u - b)) + x[c, d] * (u - b)
            expected[i, j] = top * (1 - (v - a)) + low * (v - a)
    got = resize_like_tensorflow1(torch.from_numpy(x)[None, None], 9)[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


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
