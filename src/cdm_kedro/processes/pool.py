"""Work shared out among processes on this machine. Imports no torch."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from cdm_kedro.errors import CdmError
from cdm_kedro.processes.worker import PARENT, end_with_parent

Job = TypeVar("Job")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin_worker(parent: int) -> None:
    os.environ[PARENT] = str(parent)
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; the parent ends them


def shared_out(
    function: Callable[[Job], Result], jobs: Sequence[Job], processes: int | None, work: str, chunksize: int = 1
) -> Generator[Result, None, None]:
    """Yield ``function(job)`` for every job, in order, computed in fresh processes that end with this one.

    The function must be a module's, for it is sent by name; an exception of it is raised here. None or 0 processes are
    one for each usable core. The message of an error names the ``work``, and ``chunksize`` jobs are sent at once.
    Raises CdmError if a process was killed, for example when memory ran out.
    """
    processes = processes or usable_cores()
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin_worker, (os.getpid(),))
    try:
        yield from pool.map(function, jobs, chunksize=chunksize)
    except BrokenProcessPool:
        raise CdmError(
            f"{work}: one of {processes} worker processes was killed, perhaps because memory ran out. "
            "Nothing unfinished was kept; make room and run again."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
