"""Statistics files: ours, pytorch-fid's and ADM's convention, in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from summaries import summary

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.reference import (
    identity,
    is_statistics,
    load_statistics,
    read_reference,
    summary_arrays,
)
from cdm_kedro.evaluation.statistics import frechet_distance
from cdm_kedro.files.npz import write_arrays

EXTRACTOR = Extractor("toy", lambda x: (x.mean((2, 3)), None), 12, "ab" * 32, "none", torch.device("cpu"))


@pytest.mark.parametrize(("count", "kept"), [(8, 1000), (500, 1000), (500, 100)])
def test_stored_reference_gives_the_same_distance(tmp_path: Path, count: int, kept: int) -> None:
    found, _ = summary(count, kept)
    other, _ = summary(300, shift=0.5)
    path = tmp_path / "reference.npz"
    write_arrays(path, {**identity(EXTRACTOR), **summary_arrays(found, "train_32/")})
    with np.load(path, allow_pickle=False) as arrays:
        assert ("train_32/sigma" in arrays) == (count > kept)
        back = read_reference(arrays, "train_32/")
    assert back.moments.n == count and back.features is not None and len(back.features) == min(count, kept)
    expected = frechet_distance(other.moments, found.moments)
    assert frechet_distance(other.moments, back.moments) == pytest.approx(expected, rel=1e-9)
    before = path.read_bytes()
    write_arrays(path, {**identity(EXTRACTOR), **summary_arrays(found, "train_32/")})
    assert path.read_bytes() == before  # DVC hashes it


def test_exchange_with_other_evaluators(tmp_path: Path) -> None:
    found, x = summary(500)
    path = tmp_path / "ours.npz"
    write_arrays(path, {**identity(EXTRACTOR), **summary_arrays(found, always_sigma=True)})
    with np.load(path) as arrays:  # as they read it
        np.testing.assert_allclose(arrays["mu"], x.astype(np.float64).mean(0), atol=1e-12)
        np.testing.assert_allclose(arrays["sigma"], np.cov(x.astype(np.float64), rowvar=False), atol=1e-12)
    assert is_statistics(path)
    back, remarks = load_statistics(path, EXTRACTOR)
    assert remarks == [] and back.features is not None and back.moments.n == 500
    theirs = tmp_path / "theirs.npz"
    np.savez(theirs, mu=x.mean(0), sigma=np.cov(x, rowvar=False), mu_s=np.zeros(3), sigma_s=np.zeros((3, 3)))
    back, remarks = load_statistics(theirs, EXTRACTOR)
    assert remarks == ["theirs.npz does not say which network made it; it is taken to be toy"]
    assert back.features is None and back.moments.n is None
    np.savez(tmp_path / "images.npz", np.zeros((2, 4, 4, 3), np.uint8))
    assert not is_statistics(tmp_path / "images.npz") and not is_statistics(tmp_path / "none.npz")


def test_unusable_statistics_are_named(tmp_path: Path) -> None:
    found, _ = summary(500)
    path = tmp_path / "s.npz"
    eye = np.eye(12)
    cases = {
        "13 dimensions; toy has 12": {"mu": np.zeros(13), "sigma": np.eye(13)},
        r"mu has shape \(12,\) and sigma \(12, 11\)": {"mu": np.zeros(12), "sigma": eye[:, :11]},
        "NaN or infinity": {"mu": np.full(12, np.nan), "sigma": eye},
        "not symmetric": {"mu": np.zeros(12), "sigma": np.triu(np.ones((12, 12)))},
        "mu": {"sigma": eye},
        r"was made with other \(weights abababab…\), not toy": {
            **identity(EXTRACTOR),
            "extractor": np.array("other"),
            **summary_arrays(found, always_sigma=True),
        },
        r"was made with toy \(weights cdcdcdcd…\), not toy \(abababab…\)": {
            **identity(EXTRACTOR),
            "weights_sha256": np.array("cd" * 32),
            **summary_arrays(found, always_sigma=True),
        },
    }
    for message, arrays in cases.items():
        write_arrays(path, arrays)
        with pytest.raises(CdmError, match=f"s.npz.*{message}"):
            load_statistics(path, EXTRACTOR)
    path.write_bytes(b"nothing")
    with pytest.raises(CdmError, match="not usable statistics"):
        load_statistics(path, EXTRACTOR)
