"""Starts worker processes, alone or under torchrun, receives their events and ends them. It imports no torch."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cdm_kedro.errors import CdmError, CdmInterrupted
from cdm_kedro.processes.pool import usable_cores
from cdm_kedro.processes.worker import PARENT

RUNS_MODULES = ("cdm_kedro.processes.torchrun", "cdm_kedro.processes.srun")


class Ending(NamedTuple):
    """Exit code of the processes, the signals that were passed on to them, and the last lines of their stderr."""

    code: int
    signals: list[int]
    stderr: deque[str]

    def check(self, work: str, kept: str, done: bool) -> None:
        """Raise CdmError where a process failed, CdmInterrupted where a signal stopped them.

        ``done`` is whether they said that they are done with the ``work``; ``kept`` says what an interruption leaves.
        """
        interrupted = (128 + signal.SIGINT, 128 + signal.SIGTERM)
        code = 128 + self.signals[0] if self.signals and self.code not in interrupted else self.code
        if code in interrupted:
            raise CdmInterrupted(f"{work} was interrupted (exit code {code}); {kept}", code)
        if code != 0 or not done:
            raise CdmError(f"{work} ended with exit code {code}:\n" + "".join(self.stderr))


def processes_wanted(devices: int | str) -> int:
    """Number of processes on this node: as given, but one a GPU at most; else one for each visible GPU, else one."""
    gpus = visible_gpus()
    return min(devices, gpus or devices) if isinstance(devices, int) else max(1, gpus)


def visible_gpus() -> int:
    """Number of GPUs that a process started here would see, without asking CUDA, which would keep memory on each."""
    count, visible = _installed_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    named = itertools.takewhile(lambda name: name.strip() not in ("", "-1"), visible.split(","))  # CUDA's own reading
    return min(count, len(list(named)))


def _installed_gpus() -> int:
    """Count GPUs by the driver's library, else by its tool, else by their files: no one of them is everywhere."""
    with contextlib.suppress(Exception):  # the package is optional, and has an error for each fault of the driver
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=60)
        return len(re.findall("^GPU ", listed.stdout, re.MULTILINE))
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def threads_wanted(processes: int) -> int:
    """Number of CPU threads of each process: OMP_NUM_THREADS, else an equal share of the usable cores."""
    import psutil

    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    usable = usable_cores()
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable) // processes)


def slurm_nodes() -> int:
    """Number of nodes of the Slurm job whose batch script runs this process; 1 in a step of a job and elsewhere."""
    if "PET_NNODES" in os.environ or "SLURM_STEP_ID" in os.environ:
        return 1
    return int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))


def _under_srun(nodes: int) -> bool:
    return nodes > 1 and "PET_NNODES" not in os.environ


def _command(module: str, job_file: Path, processes: int, nodes: int) -> list[str]:
    run = ["-m", module, str(job_file)]
    if processes == 1 and nodes == 1:
        return [sys.executable, *run]
    if _under_srun(nodes):
        each = int(os.environ.get("SLURM_CPUS_PER_TASK", "1")) // processes
        place = [f"--nodes={nodes}", f"--ntasks={nodes * processes}", f"--ntasks-per-node={processes}"]
        srun = ["srun", *place, f"--cpus-per-task={max(1, each)}", "--kill-on-bad-exit=1", "--input=none"]
        return [*srun, sys.executable, "-m", RUNS_MODULES[1], *run[1:]]
    # On one node the loopback address always works. On several nodes, PET_* variables say where to meet.
    where = ["--standalone", "--local-addr=127.0.0.1"] if nodes == 1 else []
    torchrun = ["-m", RUNS_MODULES[0], *where, f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, *torchrun, *run]


def _environment(processes: int, nodes: int, defaults: Mapping[str, str]) -> dict[str, str]:
    env = {**defaults, **os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads_wanted(processes))}
    if nodes == 1:  # otherwise torchrun would read the number of nodes from them
        env = {key: value for key, value in env.items() if not key.startswith("PET_")}
    env.setdefault("PET_SHUTDOWN_TIMEOUT", "120")  # torchrun's own 30 s after SIGTERM are too few to save 13 GB
    env.setdefault("GOMP_SPINCOUNT", "1000")  # a waiting thread else spins away the core that a working one needs
    if _under_srun(nodes):
        with socket.socket() as listener:
            listener.bind(("", 0))
            env["MASTER_PORT"] = str(listener.getsockname()[1])
    else:
        env[PARENT] = str(os.getpid())
    if nodes == 1 and processes > 1 and sys.platform == "linux":
        env.setdefault("GLOO_SOCKET_IFNAME", "lo")  # otherwise gloo looks up the host's name, which may fail
    return env


@contextlib.contextmanager
def _forward_signals(process: subprocess.Popen[str], srun: bool) -> Iterator[list[int]]:
    """Pass the first SIGINT or SIGTERM on to the process group, which saves its state; a second one kills it.

    srun passes USR1 on to processes on all nodes. It kills them when it gets TERM itself.
    """
    received: list[int] = []

    def forward(number: int, _: Any) -> None:
        received.append(number)
        with contextlib.suppress(ProcessLookupError):
            first, later = (signal.SIGUSR1, signal.SIGTERM) if srun else (number, signal.SIGKILL)
            os.killpg(process.pid, first if len(received) == 1 else later)

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
) -> Ending:
    """Run ``python -m module job_file`` to the end, under torchrun if there are several processes.

    The module prints one JSON object a line, with which ``on_event`` is called. SIGINT and SIGTERM are passed on. No
    process outlives the call, even if this process is killed (on Linux). ``processes`` counts those on this node, and
    ``defaults`` are environment variables that apply where the environment does not set them.
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
        with _forward_signals(process, _under_srun(nodes)) as received:
            for line in process.stdout:
                on_event(json.loads(line))
            code = process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(timeout=5)
    return Ending(code, received, tail)
