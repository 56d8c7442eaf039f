from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cdm_kedro.tracking.git import commit, git


def test_commit_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None and git(tmp_path, "status") == ""
    identity = ["-c", "user.name=t", "-c", "user.email=a@b"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "start"]):
        subprocess.run(["git", *words], check=True)
    assert len(commit() or "") == 40 and git(tmp_path, "log", "--format=%s") == "start"
