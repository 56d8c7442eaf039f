from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.processes.pool import shared_out


def double(x: int) -> int:
    return 2 * x


def die(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def fail(x: int) -> int:
    raise OSError(28, "No space left on device")


def test_results_come_in_order() -> None:
    assert list(shared_out(double, range(50), 2, "doubling", chunksize=4)) == [2 * x for x in range(50)]


def test_a_killed_process_is_said() -> None:
    with pytest.raises(CdmError, match="dying: one of 2 worker processes was killed"):
        list(shared_out(die, range(50), 2, "dying"))


def test_an_exception_is_raised_here() -> None:
    with pytest.raises(OSError, match="No space left"):
        list(shared_out(fail, range(5), 2, "failing"))


SLEEPING = """
import time
from cdm_kedro.processes.pool import shared_out
if __name__ == "__main__":
    list(shared_out(time.sleep, [60, 60], 2, "sleeping"))
"""


def test_processes_end_with_the_parent(tmp_path: Path) -> None:
    import psutil

    script = tmp_path / "sleeping.py"
    script.write_text(SLEEPING)
    parent = subprocess.Popen([sys.executable, script])
    deadline = time.monotonic() + 60
    while len(workers := [p for p in psutil.Process(parent.pid).children() if "spawn_main" in str(p.cmdline())]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()  # some have not begun to look at their parent
    parent.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
