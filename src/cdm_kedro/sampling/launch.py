"""Sampling in several processes, one a GPU, under torchrun."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RUNS_MODULES = ("cdm_kedro.sampling.worker",)
"""Modules that run as their own process; provenance counts them as code of whoever imports this one."""


class ProcessError(RuntimeError):
    """A sampling process failed; the message ends with its own traceback."""


class ProcessInterrupted(BaseException):
    """Sampling was stopped by a signal; finished shards are kept."""

    def __init__(self, code: int) -> None:
        super().__init__(f"sampling was interrupted (exit code {code}); its finished shards are kept for the next run")
        self.code = code


def processes_wanted(devices: int | str) -> int:
    """Processes on this node: the given number, or one a visible GPU, or 1."""
    if isinstance(devices, int):
        return devices
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(1, len([d for d in visible.split(",") if d.strip() not in ("", "-1")]))
    return max(1, len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))


@contextlib.contextmanager
def _forward_signals(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to the process group; a second one kills it."""
    received: list[int] = []

    def forward(number: int, _: Any) -> None:
        received.append(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number if len(received) == 1 else signal.SIGKILL)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_processes(job_file: Path, processes: int, progress: Callable[[str, float], None]) -> int:
    """Make a job's shards in several processes.

    Args:
        job_file: a prepared job.
        processes: how many.
        progress: called as ``progress(stage, images)``.

    Returns:
        Images made.

    Raises:
        ProcessError: a process failed.
        ProcessInterrupted: they were stopped by a signal.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    process = subprocess.Popen(
        [*command, "--max-restarts=0", "-m", RUNS_MODULES[0], str(job_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    tail: deque[str] = deque(maxlen=200)
    reader = threading.Thread(target=lambda stream: tail.extend(stream), args=(process.stderr,), daemon=True)
    reader.start()
    made, done = 0, 0
    try:
        with _forward_signals(process) as received:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "progress":
                    progress(event["stage"], event["images"])
                else:
                    made, done = made + event["made"], done + 1
            code = process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(timeout=5)
    if received:
        raise ProcessInterrupted(128 + received[0])
    if code != 0 or done != processes:
        raise ProcessError(f"sampling ended with exit code {code}:\n" + "".join(tail))
    return made
