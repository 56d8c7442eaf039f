"""Starts worker processes, alone or under torchrun, hears their events and ends them. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

RUNS_MODULES = ("cdm_kedro.processes.torchrun",)
"""Modules that run as their own process; provenance counts them as code of whoever imports this one."""


class Ended(NamedTuple):
    """How processes ended: their exit code, the signals passed on to them, the last lines of standard error."""

    code: int
    signals: list[int]
    stderr: deque[str]


def processes_wanted(devices: int | str) -> int:
    """Processes on this node: the given number, or one a visible GPU, or 1."""
    if isinstance(devices, int):
        return devices
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(1, len([d for d in visible.split(",") if d.strip() not in ("", "-1")]))
    return max(1, len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))


def threads_wanted(processes: int) -> int:
    """Threads of each process on the CPU: OMP_NUM_THREADS, or an equal share of the cores that may be used."""
    import psutil

    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable) // processes)


def _command(module: str, job_file: Path, processes: int, nodes: int) -> list[str]:
    run = ["-m", module, str(job_file)]
    if processes == 1 and nodes == 1:
        return [sys.executable, *run]
    # On one node the loopback address serves whatever the host is called; on many, PET_* variables say the rest.
    where = ["--standalone", "--local-addr=127.0.0.1"] if nodes == 1 else []
    torchrun = ["-m", RUNS_MODULES[0], *where, f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, *torchrun, *run]


def _environment(processes: int, nodes: int, defaults: Mapping[str, str]) -> dict[str, str]:
    env = {**defaults, **os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads_wanted(processes))}
    if nodes == 1:  # torchrun would take its number of nodes from there
        env = {key: value for key, value in env.items() if not key.startswith("PET_")}
    if nodes == 1 and processes > 1 and sys.platform == "linux":
        env.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else it asks the resolver for this host's name
    return env


@contextlib.contextmanager
def _forward_signals(process: subprocess.Popen[str]) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to the process group, so that it saves; a second one kills it."""
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


def run_module(
    module: str,
    job_file: Path,
    processes: int,
    on_event: Callable[[dict[str, Any]], None],
    *,
    nodes: int = 1,
    defaults: Mapping[str, str] | None = None,
) -> Ended:
    """Run ``python -m module job_file``, under torchrun if there are several, to the end.

    SIGINT and SIGTERM are passed on; no process outlives the call, even if this one is killed (Linux).

    Args:
        module: of the worker, which prints one JSON object a line.
        job_file: its argument.
        processes: on this node.
        on_event: called with every object.
        nodes: machines that work together.
        defaults: variables for the processes' environment where it lacks them.
    """
    process = subprocess.Popen(
        _command(module, job_file, processes, nodes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(processes, nodes, defaults or {}),
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    tail: deque[str] = deque(maxlen=200)
    reader = threading.Thread(target=lambda stream: tail.extend(stream), args=(process.stderr,), daemon=True)
    reader.start()
    try:
        with _forward_signals(process) as received:
            for line in process.stdout:
                on_event(json.loads(line))
            code = process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(timeout=5)
    return Ended(code, received, tail)
