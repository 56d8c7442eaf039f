"""Runs workers that share out a job's shards and do not talk to each other. It imports no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError, CdmInterrupted
from cdm_kedro.processes.launch import run_module


class ProcessError(CdmError, RuntimeError):
    """A worker failed. The message ends with its own traceback."""


class ProcessInterrupted(CdmInterrupted):
    """A signal stopped the workers. Finished shards are kept."""


def run_workers(
    module: str, job_file: Path, name: str, processes: int, nodes: int, progress: Callable[[str, float], object]
) -> int:
    """Make a job's shards in several processes.

    A worker's events are ``progress`` with ``stage`` and ``images``, with which ``progress`` is called, and ``done``
    with the number of images ``made``. ``processes`` counts those of each node; ``name`` is the work's, for messages.
    Returns images made, by all of them. Raises ProcessError if a process failed. Raises ProcessInterrupted if a signal
    stopped them.
    """
    made: list[int] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            progress(event["stage"], event["images"])
        else:
            made.append(event["made"])

    code, signals, stderr = run_module(module, job_file, processes, on_event, nodes=nodes)
    if signals:
        code = 128 + signals[0]
        raise ProcessInterrupted(
            f"{name} was interrupted (exit code {code}); its finished shards are kept for the next run", code
        )
    if code != 0 or len(made) != processes * nodes:
        raise ProcessError(f"{name} ended with exit code {code}:\n" + "".join(stderr))
    return sum(made)
