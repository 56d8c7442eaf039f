"""Servers as processes of their own, for as long as a test needs them."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> str:
    """A port that nobody listens on, below the ephemeral ones, which Kedro-Viz refuses."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return str(port)


@contextmanager
def mlflow_serving(folder: Path, *words: str, answers: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Address of an ``mlflow …`` command that serves, once it answers.

    Args:
        folder: its working directory, and the place of its log.
        words: the command; a free port is added.
        answers: path that it answers when it is ready.
        env: its environment, by default this process's.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = folder / f"{words[0]}-{port}.log"
    given = {**(os.environ if env is None else env), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"  # `serve` starts uvicorn by its name
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "--port", str(port)],
            cwd=folder,
            env=given,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 240
    try:
        while True:
            try:
                urllib.request.urlopen(address + answers, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.3)
        yield address
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
