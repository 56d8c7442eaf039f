"""Saves are whole or not at all, also across file systems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.io import AbstractDataset, DatasetError

from cdm_kedro.datasets import CurveDataset, FileDataset, FolderDataset, JSONDataset, TextDataset
from cdm_kedro.errors import CdmError


@pytest.fixture(params=["same file system", "another"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where a node makes its output."""
    yield tmp_path / "work" if request.param == "same file system" else request.getfixturevalue("small_disk") / "work"


def test_a_file_is_adopted(made: Path, tmp_path: Path) -> None:
    made.write_text("new")
    target = tmp_path / "data/out.txt"
    dataset = FileDataset(filepath=str(target))
    with pytest.raises(DatasetError, match="does not exist; run the stage"):
        dataset.load()
    dataset.save(made)
    assert dataset.load().read_text() == "new" and not made.exists()
    assert list(target.parent.iterdir()) == [target]
    dataset.save(target)  # already there


def test_a_folder_is_adopted_and_replaces_the_old_one(made: Path, tmp_path: Path) -> None:
    made.mkdir()
    (made / "new").write_text("")
    target = tmp_path / "data/out"
    target.mkdir(parents=True)
    (target / "old").write_text("")
    FolderDataset(filepath=str(target)).save(made)
    assert [p.name for p in target.iterdir()] == ["new"] and list(target.parent.iterdir()) == [target]


def test_a_file_does_not_replace_a_folder_and_is_not_lost(made: Path, tmp_path: Path) -> None:
    made.write_text("new")
    target = tmp_path / "data/out"
    target.mkdir(parents=True)
    (target / "old").write_text("")
    with pytest.raises(DatasetError):
        FileDataset(filepath=str(target)).save(made)
    assert made.read_text() == "new" and list(target.parent.iterdir()) == [target] and (target / "old").exists()


def test_a_full_disk_is_said_and_nothing_lost(small_disk: Path, tmp_path: Path) -> None:
    made, target = tmp_path / "work", small_disk / "out"
    made.write_bytes(bytes(3 << 20))
    with pytest.raises((CdmError, DatasetError), match="no space left on its file system"):
        FileDataset(filepath=str(target)).save(made)
    assert made.exists() and list(small_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (TextDataset, "é\n"),
        (JSONDataset, {"b": [1, None], "a": "é"}),
        (CurveDataset, [{"step": 1.0, "loss": 0.5}, {"step": 2.0, "fid": 3.0}]),
    ],
)
def test_text_comes_back(kind: type[AbstractDataset[Any, Any]], value: Any, tmp_path: Path) -> None:
    dataset = kind(filepath=str(tmp_path / "a/b"))
    assert not dataset.exists()
    dataset.save(value)
    assert dataset.load() == value and [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_json_refuses_what_it_has_no_word_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        JSONDataset(filepath=str(tmp_path / "x")).save(float("nan"))
    assert list(tmp_path.iterdir()) == []
