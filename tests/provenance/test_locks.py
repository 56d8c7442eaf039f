"""Waiting for other processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from dvc.lock import make_lock

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.locks import WAIT, blockers, describe, lives, only_process

HOLD = (
    "import sys, time, pathlib; from cdm_kedro.provenance.locks import only_process\n"
    "with only_process(pathlib.Path(sys.argv[1]), 'it'):\n    print(1, flush=True); time.sleep(float(sys.argv[2]))"
)


def holder(path: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None and process.stdout.readline()
    return process


def test_the_second_waits_and_says_once_for_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = holder(tmp_path / "lock", 2)
    with caplog.at_level(logging.INFO):
        with only_process(tmp_path / "lock", "the work"):
            assert process.wait(5) == 0
    assert len(caplog.messages) == 1 and f"(pid {process.pid}, since 20" in caplog.messages[0]


def test_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = holder(tmp_path / "lock", 60)
    monkeypatch.setenv(WAIT, "0.5")
    started = time.monotonic()
    with (
        pytest.raises(CdmError, match=f"after 0.5 s: .*pid {process.pid}"),
        only_process(tmp_path / "lock", "it"),
    ):
        pass
    assert time.monotonic() - started < 5
    process.kill()
    process.wait()
    with only_process(tmp_path / "lock", "it"):  # the kernel freed it
        pass


@pytest.fixture
def dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen[str]]:
    """Starts the program `dvc`, as it is installed, in a DVC repository."""
    monkeypatch.chdir(tmp_path)

    def start(*words: str, **more: str) -> subprocess.Popen[str]:
        command = [Path(sys.executable).with_name("dvc"), *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **more})

    assert start("init", "--no-scm", "-q").wait() == 0
    return start


def test_the_program_dvc_waits_too(dvc: Callable[..., subprocess.Popen[str]]) -> None:
    with make_lock(".dvc/tmp/lock"):
        process = dvc("status", "--json")
        said = process.stderr.readline()
        assert said.startswith("waiting for this project's records, which ") and f"(pid {os.getpid()}, since 20" in said
        assert process.poll() is None
    assert process.wait(60) == 0 and process.stdout.read() == "{}\n"


def test_the_program_dvc_says_so_where_there_are_no_locks(
    dvc: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, fcntl\n"
        "def flock(*_):\n    raise OSError(errno.ENOSYS, 'Function not implemented')\n"
        "fcntl.flock = flock\n"
    )
    process = dvc("status", PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert process.wait(60) == 255
    assert "this project's records cannot be locked (Function not implemented)" in process.stderr.read()


def test_the_program_dvc_waits_for_another_run_of_a_stage(
    dvc: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "y").write_text("")
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: sleep 4; echo made > x\n    deps: [y]\n    outs: [x]\n")
    first = dvc("repro")
    while "sleep" not in (said := first.stdout.readline()):
        assert said
    second = dvc("repro")
    told = second.stderr.readline()
    assert told.startswith("waiting for files of a stage, which `dvc repro`") and f"(pid {first.pid}, since" in told
    interrupted = dvc("repro")
    assert interrupted.stderr.readline() == told
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(60) == 252 and "interrupted by the user" in interrupted.stderr.read()
    assert first.wait(60) == 0 and second.wait(60) == 0
    assert "is cached - skipping run" in second.stdout.read() and (tmp_path / "x").read_text() == "made\n"


@pytest.mark.parametrize("writer", ["itself", "a zombie", "another program"])
def test_an_entry_of_a_process_that_is_no_more(
    dvc: Callable[..., subprocess.Popen[str]], tmp_path: Path, writer: str
) -> None:
    """Process ids come again: after a restart of a container, the run is process 1 as before."""
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: echo made > x\n    outs: [x]\n")
    other = subprocess.Popen(["sleep", "60" if writer == "another program" else "0"])
    if writer == "a zombie":
        time.sleep(1)
    entry = json.dumps({"write": {str(tmp_path / "x"): {"pid": other.pid, "cmd": "/usr/bin/dvc repro"}}})
    (tmp_path / ".dvc/tmp/rwlock").write_text(entry)
    if writer == "itself":
        script = f"sed -i s/{other.pid}/$$/ .dvc/tmp/rwlock; exec {Path(sys.executable).with_name('dvc')} repro"
        assert subprocess.run(["sh", "-c", script], timeout=60).returncode == 0
    else:
        assert dvc("repro").wait(60) == 0
    assert (tmp_path / "x").read_text() == "made\n"
    other.kill()
    other.wait()
    mine = holder(tmp_path / "lock", 60)
    assert lives(mine.pid) and not lives(os.getpid())
    mine.kill()
    mine.wait()


def test_the_program_dvc_gives_up_after_a_limit(
    dvc: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT, "1")
    with make_lock(".dvc/tmp/lock"):
        process = dvc("status")
        assert process.wait(60) == 255
    said = process.stderr.read()
    assert "ERROR: gave up waiting" in said and f"(pid {os.getpid()}" in said and "Traceback" not in said


def test_processes_in_words() -> None:
    busy = "'x' is busy, it is being blocked by:\n  (PID {}): dvc repro\n  (PID {}): kedro run\n"
    assert blockers(Exception(busy.format(2**22 + 1, 2**22))) == [2**22 + 1, 2**22]
    with pytest.raises(CdmError, match=rf"\(pid {os.getppid()}, since 20.*runs this very command"):
        blockers(Exception(busy.format(2**22, os.getppid())))
    assert "has just ended" in describe(2**22 + 1)
    said = describe(os.getpid())
    assert psutil.Process().cmdline()[-1] in said and f"(pid {os.getpid()}, since" in said
