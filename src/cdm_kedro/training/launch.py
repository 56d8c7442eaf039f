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

from cdm_kedro.training.job import TrainingJob, TrainingResult

log = logging.getLogger(__name__)

RUNS_MODULES = ("cdm_kedro.training.worker",)
"""Modules that run as their own process; provenance counts them as code of whoever imports this one."""


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


def _command(job_file: Path, processes: int, nodes: int) -> list[str]:
    module = ["-m", RUNS_MODULES[0], str(job_file)]
    if processes == 1 and nodes == 1:
        return [sys.executable, *module]
    # On one node the loopback address serves whatever the host is called; on many, PET_* variables say the rest.
    where = ["--standalone", "--local-addr=127.0.0.1"] if nodes == 1 else []
    torchrun = ["-m", "torch.distributed.run", *where, f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, *torchrun, *module]


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


def progress(metrics: dict[str, float]) -> dict[str, str]:
    """What the progress bar says beside the images a second."""
    shown = {"loss": f"{metrics.get('loss', float('nan')):.4f}", "TFLOP/s": f"{metrics['tflops']:.3g}"}
    if "peak_share" in metrics:
        shown["of peak"] = f"{metrics['peak_share']:.0%}"
    shown |= {"wait": f"{metrics['loader_wait_share']:.0%}", "GiB": f"{metrics['memory_gib']:.1f}"}
    minutes = metrics["eta_seconds"] / 60
    return shown | {"left": f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"}


def launch(job: TrainingJob, on_event: Callable[[dict[str, Any]], None]) -> TrainingResult:
    """Train, showing a progress bar.

    Args:
        job: what to train.
        on_event: called with every event of the training process.

    Raises:
        TrainingError: the process failed.
        TrainingInterrupted: it was stopped after saving.
    """
    from tqdm import tqdm

    workdir = Path(job.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    job_file = workdir / "job.json"
    job_file.write_text(job.model_dump_json(), encoding="utf-8")
    processes, nodes = processes_wanted(job.params.training.devices), nodes_wanted()
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads_wanted(processes))}
    if not has_gpu():
        # Compiling FFCV's readers costs seconds a start and saves microseconds a batch, which only a GPU notices.
        env.setdefault("NUMBA_DISABLE_JIT", "1")
    if nodes == 1 and processes > 1 and sys.platform == "linux":
        env.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else it asks the resolver for this host's name
    process = subprocess.Popen(
        _command(job_file, processes, nodes),
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
    size, total = job.params.training.batch_size, job.params.training.steps
    try:
        with (
            _forward_signals(process) as received,
            tqdm(total=total * size, desc=job.stage, unit="img", unit_scale=True) as bar,
        ):
            for line in process.stdout:
                event = json.loads(line)
                kind = event["event"]
                if kind in ("log", "resumed"):
                    bar.n = event["step"] * size
                    if kind == "resumed":
                        bar.initial = bar.n
                        tqdm.write(f"{job.stage}: resuming at step {event['step']} of {total}", file=sys.stderr)
                    else:
                        bar.set_postfix(progress(event["metrics"]), refresh=False)
                    bar.refresh()
                elif kind == "warning":
                    log.warning("%s: %s", job.stage, event["message"])
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
        raise TrainingError(f"training of {job.stage} ended with exit code {code}:\n" + "".join(tail))
    for line in tail:
        if "fall" in line or "damaged" in line:
            log.warning("%s: %s", job.stage, line.rstrip())
    return _result(job, done)


def _result(job: TrainingJob, done: dict[str, Any]) -> TrainingResult:
    facts, curve = done["facts"], done["curve"]
    last = curve[-1] if curve else {}
    params = job.params
    card = {
        "stage": job.stage,
        "num_classes": job.num_classes,
        "steps": params.training.steps,
        "images_seen": params.training.steps * params.training.batch_size,
        "ema_decay": params.training.ema_decay,
        "data": job.data,
        **facts,
        "final_loss": last.get("loss"),
        "images_per_second": last.get("images_per_second"),
        "params": params.model_dump(mode="json"),
    }
    keys = ("loss", "grad_norm", "images_per_second", "nonfinite_steps", "memory_gib")
    summary = {f"final_{key}": float(last[key]) for key in keys if key in last}
    summary["seconds"] = float(facts["seconds"])
    summary["parameters"] = float(facts["parameters"])
    return TrainingResult(Path(done["weights"]), card, curve, summary)
