"""Worker processes end with whoever started them, however that comes about."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cdm_kedro.processes.worker import PARENT

SLEEPER = """
import os, time
from cdm_kedro.processes.worker import begin, emitter
begin()
emitter(True)({"pid": os.getpid(), "parent": os.getppid()})
time.sleep(600)
"""
STARTER = """
import sys
from pathlib import Path
from cdm_kedro.processes.launch import run_module
run_module("sleeper", Path("job"), int(sys.argv[1]), lambda event: print(__import__("json").dumps(event), flush=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_outlives_a_killed_pipeline(processes: int, tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", STARTER, str(processes)]
    starter = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    events = [json.loads(starter.stdout.readline()) for _ in range(processes)]
    started = {event["pid"] for event in events} | {event["parent"] for event in events} - {starter.pid}
    assert len(started) == (1 if processes == 1 else processes + 1)  # several have torchrun above them
    assert all(psutil.pid_exists(pid) for pid in started)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = [pid for pid in started if psutil.pid_exists(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_process_ends_whose_parent_ended_before_it_looked() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    begin = "from cdm_kedro.processes.worker import begin; begin(); print('lives on')"
    for parent, code in ((gone.pid, -signal.SIGKILL), (os.getpid(), 0)):
        child = subprocess.run([sys.executable, "-c", begin], env={**os.environ, PARENT: str(parent)})
        assert child.returncode == code
