"""dvc.lock, whole again after any accident."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.lockfile import mend

OUTS = "    outs:\n    - path: x\n      hash: md5\n      md5: abc\n      size: 3\n"
GOOD = f"schema: '2.0'\nstages:\n  a:\n    cmd: do\n{OUTS}"


@pytest.mark.parametrize("broken", ["", GOOD[: GOOD.index("size") + 2], GOOD[: GOOD.index("outs:")] + "outs\n", "[1"])
def test_the_last_good_copy_comes_back(tmp_path: Path, broken: str) -> None:
    lock = tmp_path / "dvc/test/dvc.lock"
    lock.parent.mkdir(parents=True)
    mend(lock, tmp_path)
    assert not lock.exists()
    lock.write_text(broken)
    with pytest.raises(CdmError, match=r"git checkout dvc/test/dvc.lock"):
        mend(lock, tmp_path)
    lock.write_text(GOOD)
    mend(lock, tmp_path)
    lock.write_text(broken)
    mend(lock, tmp_path)
    assert lock.read_text() == GOOD


def test_a_merge_is_for_people(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(GOOD)
    mend(lock, tmp_path)
    lock.write_text(GOOD + "<<<<<<< HEAD\n=======\n>>>>>>> other\n")
    with pytest.raises(CdmError, match=r"--ours dvc\.lock"):
        mend(lock, tmp_path)


def test_dvc_is_killed_while_it_writes(tmp_path: Path) -> None:
    """`dvc repro` alone, with no code of ours but the start-up file's."""
    inject = Path(__file__).parents[1] / "accidents/inject"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(inject), os.environ.get("PYTHONPATH")]))}

    def dvc(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("dvc"), *words]
        return subprocess.run(command, cwd=tmp_path, env={**env, **more}, text=True, capture_output=True)

    dvc("init", "--no-scm")
    lock = tmp_path / "dvc.lock"
    lock.write_text(GOOD)
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: echo 1 > x\n    outs: [x]\n")
    for where in ("json/__init__.py|dump=rwlock", "dvc/utils/serialize/_yaml.py|_dump=dvc.lock"):
        killed = dvc("repro", ACCIDENT=f"dvc|{where}|call|kill")
        assert killed.returncode == -signal.SIGKILL and lock.read_text() == GOOD, killed.stderr
        assert list(tmp_path.rglob(f"{where.split('=')[1]}.*.part"))  # it was writing
    again = dvc("repro")
    assert again.returncode == 0 and "md5: abc" not in lock.read_text(), again.stdout + again.stderr
    good = lock.read_text()
    assert dvc("status").returncode == 0
    lock.write_text("[1")
    mended = dvc("status")
    assert mended.returncode == 0 and "could not be read" in mended.stderr and lock.read_text() == good
    lock.write_text(good + "<<<<<<< HEAD\n=======\n>>>>>>> other\n")
    refused = dvc("status")
    assert refused.returncode == 255 and "ERROR: dvc.lock holds the marks of an unfinished merge" in refused.stderr
