from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest


@contextmanager
def _killer(ready: Path) -> Iterator[None]:
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.01):
            workers = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
            if workers and any(ready.rglob("*.part*")):
                time.sleep(0.3)
                os.kill(workers[0].pid, signal.SIGKILL)
                return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def worker_killed(tmp_path: Path) -> Iterator[None]:
    """During the test, the first worker process to be seen is killed once there is an unfinished file."""
    with _killer(tmp_path):
        yield
