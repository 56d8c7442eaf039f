"""Sampling in several processes, one a GPU, under torchrun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError, CdmInterrupted
from cdm_kedro.processes.launch import run_module

RUNS_MODULES = ("cdm_kedro.sampling.worker",)
"""Modules that run as their own process; provenance counts them as code of whoever imports this one."""


class ProcessError(CdmError, RuntimeError):
    """A sampling process failed; the message ends with its own traceback."""


class ProcessInterrupted(CdmInterrupted):
    """Sampling was stopped by a signal; finished shards are kept."""

    def __init__(self, code: int) -> None:
        super().__init__(
            f"sampling was interrupted (exit code {code}); its finished shards are kept for the next run", code
        )


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
    made, done = 0, 0

    def on_event(event: dict[str, Any]) -> None:
        nonlocal made, done
        if event["event"] == "progress":
            progress(event["stage"], event["images"])
        else:
            made, done = made + event["made"], done + 1

    ended = run_module(RUNS_MODULES[0], job_file, processes, on_event)
    if ended.signals:
        raise ProcessInterrupted(128 + ended.signals[0])
    if ended.code != 0 or done != processes:
        raise ProcessError(f"sampling ended with exit code {ended.code}:\n" + "".join(ended.stderr))
    return made
