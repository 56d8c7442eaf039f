from __future__ import annotations

from pathlib import Path

import pytest

from cdm_kedro.tracking.scratch import VARIABLE, scratch_dir


def test_the_folder_is_the_runs_own_or_one_for_calls_outside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scratch_dir("sr64") == Path(".scratch/sr64/adhoc") and (root / ".scratch/sr64/adhoc").is_dir()
    monkeypatch.setenv(VARIABLE, ".scratch/base/sr64/0123")
    assert scratch_dir("anything") == Path(".scratch/base/sr64/0123") and (root / ".scratch/base/sr64/0123").is_dir()
