"""What is said of a DVC repository that cannot be worked with."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.repo import Repo

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.staleness import Staleness


def test_a_cache_on_an_absent_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CdmError, match="is not a DVC repository"):
        Staleness(tmp_path)
    Repo.init(".", no_scm=True).close()
    (tmp_path / ".dvc/cache").symlink_to(tmp_path / "absent")
    with pytest.raises(CdmError, match=r"\.dvc/cache/files/md5 cannot be opened .* with `dvc cache dir --local"):
        Staleness(tmp_path)
    (tmp_path / "absent").mkdir()
    Staleness(tmp_path)
