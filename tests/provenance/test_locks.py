"""Waiting for other processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from dvc.lock import make_lock

from cdm_kedro.errors import CdmError
from cdm_kedro.provenance.locks import WAIT, describe, only_process, pids_in

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

    def start(*words: str) -> subprocess.Popen[str]:
        command = [Path(sys.executable).with_name("dvc"), *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    assert start("init", "--no-scm", "-q").wait() == 0
    return start


@pytest.mark.parametrize("hardlink", ["false", "true"])
def test_the_program_dvc_waits_too(dvc: Callable[..., subprocess.Popen[str]], hardlink: str) -> None:
    assert dvc("config", "core.hardlink_lock", hardlink).wait() == 0
    lock = make_lock(".dvc/tmp/lock", tmp_dir=".dvc/tmp", hardlink_lock=hardlink == "true")
    with lock:
        process = dvc("status")
        said = process.stdout.readline()
        assert said.startswith("waiting for this project's records, which ")
        assert f"(pid {os.getpid()}, since 20" in said or hardlink == "true"
        assert process.poll() is None
    assert process.wait(60) == 0 and "There are no data" in process.stdout.read()


def test_the_program_dvc_gives_up_after_a_limit(
    dvc: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WAIT, "1")
    with make_lock(".dvc/tmp/lock"):
        process = dvc("status")
        assert process.wait(60) == 255
    said = process.stdout.read()
    assert "ERROR: gave up waiting" in said and f"(pid {os.getpid()}" in said and "Traceback" not in said


def test_processes_in_words() -> None:
    assert pids_in("'x' is busy, it is being blocked by:\n  (PID 12): dvc repro\n  (PID 7): kedro run\n") == [12, 7]
    assert "has just ended" in describe(2**22 + 1)
    said = describe(os.getpid())
    assert psutil.Process().cmdline()[-1] in said and f"(pid {os.getpid()}, since" in said
