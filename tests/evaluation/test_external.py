"""Images from outside the project: what cannot be used is named, and a folder equals its FFCV file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.external import score_samples, write_statistics
from cdm_kedro.params.evaluation import EvaluateParams


def test_unusable_content_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", np.zeros((4, 8, 8, 3), np.uint8))
    np.savez(tmp_path / "float.npz", np.zeros((4, 8, 8, 3)))
    params = EvaluateParams(input_side=32)
    for samples, reference, size, message in (
        ("float.npz", "good.npz", None, r"^samples: .*/float\.npz: arr_0 is float64 .*; convert it to uint8"),
        ("good.npz", "float.npz", None, r"^reference: .*/float\.npz: arr_0 is float64"),
        ("good.npz", "good.npz", 64, r"^size 64 is for folders of images; neither .*/good\.npz nor"),
    ):
        with pytest.raises(CdmError, match=message):
            score_samples(params, tmp_path / samples, tmp_path / reference, size)


def test_statistics_of_a_beton_are_those_of_its_folder(
    tmp_path: Path, image_folder: Path, betons: dict[str, Path]
) -> None:
    params = EvaluateParams(input_side=32)
    for source, size, output in ((betons["val_64"], None, "beton.npz"), (image_folder / "val", 64, "folder.npz")):
        assert write_statistics(params, source, tmp_path / output, size).startswith("6 images, efficientnet_lite0_32px")
    with np.load(tmp_path / "beton.npz") as a, np.load(tmp_path / "folder.npz") as b:
        for key in ("mu", "sigma"):
            np.testing.assert_allclose(a[key], b[key], atol=1e-5)
        assert float(np.trace(a["sigma"])) > 1
    with pytest.raises(CdmError, match="a size is for folders"):
        write_statistics(params, betons["val_64"], tmp_path / "x.npz", 64)
    assert not (tmp_path / "x.npz").exists()
