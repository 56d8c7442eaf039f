"""Samples as training images of a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.data.beton import read_beton
from cdm_kedro.errors import CdmError
from cdm_kedro.studies.cas.generated import samples_to_beton

CLASSES = ["class0", "class1", "class2"]


def test_samples_become_an_ffcv_file_or_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    labels = np.arange(9) % 3
    np.savez(tmp_path / "s.npz", images, labels)
    samples_to_beton(tmp_path / "s.npz", tmp_path / "s.beton", CLASSES)
    assert "s.npz has 3 samples of some classes" in caplog.text and "(cas.num_samples)" in caplog.text
    stored, found = read_beton(tmp_path / "s.beton")
    np.testing.assert_array_equal(stored, images)
    np.testing.assert_array_equal(found, labels)
    for arrays, message in (
        ((images,), r"has no labels \(arr_1\)"),
        ((images, labels + 1), "labels from 1 to 3; the data has classes 0 to 2"),
        ((images, labels % 2), r"1 of 3 classes have no sample \(class2…\).*raise sample\.num_samples"),
    ):
        np.savez(tmp_path / "bad.npz", *arrays)
        with pytest.raises(CdmError, match=message):
            samples_to_beton(tmp_path / "bad.npz", tmp_path / "bad.beton", CLASSES)
