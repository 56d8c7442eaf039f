"""dvc.lock, whole again after any accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdm_kedro.provenance.lockfile import LockfileError, mend
from cdm_kedro.provenance.staleness import _valid

OUTS = "    outs:\n    - path: x\n      hash: md5\n      md5: abc\n      size: 3\n"
GOOD = f"schema: '2.0'\nstages:\n  a:\n    cmd: do\n{OUTS}"


@pytest.mark.parametrize("broken", ["", GOOD[: GOOD.index("size") + 2], GOOD[: GOOD.index("outs:")] + "outs\n", "[1"])
def test_the_last_good_copy_comes_back(tmp_path: Path, broken: str) -> None:
    lock = tmp_path / "dvc/test/dvc.lock"
    lock.parent.mkdir(parents=True)
    mend(lock, tmp_path, _valid)
    assert not lock.exists()
    lock.write_text(broken)
    with pytest.raises(LockfileError, match=r"git checkout dvc/test/dvc.lock"):
        mend(lock, tmp_path, _valid)
    lock.write_text(GOOD)
    mend(lock, tmp_path, _valid)
    lock.write_text(broken)
    mend(lock, tmp_path, _valid)
    assert lock.read_text() == GOOD


def test_a_merge_is_for_people(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(GOOD)
    mend(lock, tmp_path, _valid)
    lock.write_text(GOOD + "<<<<<<< HEAD\n=======\n>>>>>>> other\n")
    with pytest.raises(LockfileError, match=r"--ours dvc\.lock"):
        mend(lock, tmp_path, _valid)
