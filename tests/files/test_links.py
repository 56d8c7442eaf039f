"""Finished outputs come back, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from cdm_kedro.files.links import keep, put_back


def test_files_and_folders_come_back(tmp_path: Path) -> None:
    file, folder = tmp_path / "data/a.bin", tmp_path / "data/images"
    (folder / "x").mkdir(parents=True)
    file.write_bytes(b"weights")
    (folder / "x/1.png").write_bytes(b"picture")
    assert not put_back(tmp_path / "kept", [file, folder])
    keep(tmp_path / "kept", [file, folder])
    shutil.rmtree(tmp_path / "data")
    assert put_back(tmp_path / "kept", [file, folder])
    assert file.read_bytes() == b"weights" and (folder / "x/1.png").read_bytes() == b"picture"
    file.unlink()
    file.write_bytes(b"half")
    assert put_back(tmp_path / "kept", [file, folder]) and file.read_bytes() == b"weights"
    assert not put_back(tmp_path / "kept", [file])  # the stage has other outputs now
    (tmp_path / "kept/outputs.json").unlink()  # killed while keeping
    assert not put_back(tmp_path / "kept", [file, folder])
