"""Runs a training job in its own process(es) and relays what they say. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class TrainingError(RuntimeError):
    """Training failed; the message ends with the process's own traceback."""


class TrainingInterrupted(BaseException):
    """Training was stopped by a signal after saving its state."""

    def __init__(self, code: int) -> None:
        super().__init__(f"training was interrupted (exit code {code}); its state is saved and the next run resumes it")
        self.code = code


def processes_wanted(devices: int | str) -> int:
    """Processes on this node: the given number, or one a visible GPU, or 1."""
    if isinstance(devices, int):
        return devices
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(1, len([d for d in visible.split(",") if d.strip() not in ("", "-1")]))
    return max(1, len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded and not hidden."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and Path("/proc/driver/nvidia/gpus").exists()


def nodes_wanted() -> int:
    """Machines that train together, as torchrun's own variables say (PET_NNODES; docs/training.md).

    Raises:
        TrainingError: a range of nodes, or no meeting point.
    """
    nodes = os.environ.get("PET_NNODES", "1")
    if not nodes.isdecimal() or nodes == "0":
        raise TrainingError(
            f"PET_NNODES is {nodes!r}; give the number of nodes, for the batch is shared by all of them"
        )
    if nodes != "1" and not os.environ.get("PET_RDZV_ENDPOINT"):
        raise TrainingError(f"PET_NNODES is {nodes} but PET_RDZV_ENDPOINT is not set; give this node's host:port")
    return int(nodes)


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
    torchrun = ["-m", "torch.distributed.run", *where, f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, *torchrun, *run]


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


def run_worker(
    module: str,
    job: str,
    workdir: Path,
    *,
    name: str,
    devices: int | str,
    nodes: int,
    steps: int,
    batch_size: int,
    on_event: Callable[[dict[str, Any]], None],
    shown: Callable[[dict[str, float]], dict[str, str]] = lambda metrics: {"loss": f"{metrics['loss']:.4f}"},
) -> dict[str, Any]:
    """Run ``python -m module job.json``, alone or under torchrun, showing a progress bar.

    The process prints one JSON object a line: ``log`` and ``resumed`` with the step, ``warning`` with a message, and
    ``done`` at its end.

    Args:
        module: of the worker.
        job: JSON text of the job.
        workdir: for the job's file.
        name: of the job, for the bar and for messages.
        devices: processes wanted on this node.
        nodes: machines that train together.
        steps: optimizer steps of the whole job.
        batch_size: images a step.
        on_event: called with every event.
        shown: what the bar says beside the images a second, of a ``log`` event's metrics.

    Returns:
        The ``done`` event.

    Raises:
        TrainingError: the process failed.
        TrainingInterrupted: it was stopped after saving.
    """
    from tqdm import tqdm

    workdir.mkdir(parents=True, exist_ok=True)
    job_file = workdir / "job.json"
    job_file.write_text(job, encoding="utf-8")
    processes = processes_wanted(devices)
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads_wanted(processes))}
    if nodes == 1:  # torchrun would take its number of nodes from there
        env = {key: value for key, value in env.items() if not key.startswith("PET_")}
    if not has_gpu():
        # Compiling FFCV's readers costs seconds a start and saves microseconds a batch, which only a GPU notices.
        env.setdefault("NUMBA_DISABLE_JIT", "1")
    if nodes == 1 and processes > 1 and sys.platform == "linux":
        env.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else it asks the resolver for this host's name
    process = subprocess.Popen(
        _command(module, job_file, processes, nodes),
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
    done: dict[str, Any] | None = None
    try:
        with (
            _forward_signals(process) as received,
            tqdm(total=steps * batch_size, desc=name, unit="img", unit_scale=True) as bar,
        ):
            for line in process.stdout:
                event = json.loads(line)
                kind = event["event"]
                if kind in ("log", "resumed"):
                    bar.n = event["step"] * batch_size
                    if kind == "resumed":
                        bar.initial = bar.n
                        tqdm.write(f"{name}: resuming at step {event['step']} of {steps}", file=sys.stderr)
                    else:
                        bar.set_postfix(shown(event["metrics"]), refresh=False)
                    bar.refresh()
                elif kind == "warning":
                    log.warning("%s: %s", name, event["message"])
                elif kind == "done":
                    done = event
                on_event(event)
            code = process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(timeout=5)
    if received or code in (130, 143):
        raise TrainingInterrupted(code if code in (130, 143) else 128 + received[0])
    if code != 0 or done is None:
        raise TrainingError(f"training of {name} ended with exit code {code}:\n" + "".join(tail))
    for line in tail:
        if "fall" in line or "damaged" in line:
            log.warning("%s: %s", name, line.rstrip())
    return done
