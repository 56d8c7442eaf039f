"""Workers that share out a job's shards and do not talk to each other. It imports no torch."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.processes.launch import run_module
from cdm_kedro.processes.worker import Place, begin, emitter

Progress = Callable[[str, float], object]
"""Called as ``progress(what, images)``; images may be fractions of one, and add up to the job's number."""

_EVERY = 0.5  # seconds between a worker's reports


def run_workers(module: str, job_file: Path, name: str, processes: int, nodes: int, progress: Progress) -> int:
    """Make a job's shards in several processes, which run ``module`` and call :func:`be_worker`.

    ``processes`` counts those of each node; ``name`` is the work's, for messages. Returns images made, by all of them.
    Raises CdmError if a process failed, CdmInterrupted if a signal stopped them.
    """
    made: list[int] = []

    def on_event(event: dict[str, Any]) -> None:
        progress(event["what"], event["images"])
        made.extend(event["made"])

    ending = run_module(module, job_file, processes, on_event, nodes=nodes)
    ending.check(name, "its finished shards are kept for the next run", len(made) == processes * nodes)
    return sum(made)


def be_worker(make: Callable[[Path, Place, Progress], int]) -> None:
    """Make the shards that fall to this process, of the job whose file is the first command-line argument.

    ``make`` is called with that file, this process's place and a function that takes progress. It returns the number
    of images that it made. Reports go to :func:`run_workers` on standard output, as JSON objects of one line each.
    """
    place, emit = begin(), emitter(True)
    waiting, last = 0.0, time.monotonic()

    def progress(what: str, images: float) -> None:
        nonlocal waiting, last
        waiting += images
        if time.monotonic() - last > _EVERY:
            emit({"what": what, "images": waiting, "made": []})
            waiting, last = 0.0, time.monotonic()

    made = make(Path(sys.argv[1]), place, progress)
    emit({"what": "", "images": waiting, "made": [made]})
