from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdm_kedro.tracking.scratch import VARIABLE, of_killed, process_dir, scratch_dir


def test_the_folder_is_the_runs_own_or_this_processs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scratch_dir("sr64") == process_dir() / "sr64" and (root / process_dir() / "sr64").is_dir()
    monkeypatch.setenv(VARIABLE, ".scratch/base/sr64/0123")
    assert scratch_dir("anything") == Path(".scratch/base/sr64/0123") and (root / ".scratch/base/sr64/0123").is_dir()


def test_folders_of_killed_processes_are_found(tmp_path: Path) -> None:
    assert of_killed(tmp_path) == []
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = process_dir(tmp_path)
    folders = {pid: own.with_name(str(pid)) for pid in (ended.pid, os.getppid(), os.getpid())}
    for folder in (*folders.values(), own.with_name("somebody's")):
        folder.mkdir(parents=True)
    # This process has not made its own yet: it is from one that had the same number.
    assert set(of_killed(tmp_path)) == {folders[ended.pid], own}
