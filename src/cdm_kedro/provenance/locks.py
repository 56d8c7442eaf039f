"""Waits for locks that other processes hold, and says once who holds them."""

import errno
import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from cdm_kedro.errors import CdmError

log = logging.getLogger(__name__)
WAIT = "CDM_WAIT"
"""Environment variable: the longest time to wait for a lock, in seconds. Without it, waiting never ends."""
T = TypeVar("T")


def patiently(
    attempt: Callable[[], T],
    busy: type[Exception],
    pids: Callable[[Exception], list[int]],
    what: str,
    rest: Callable[[float], None] = time.sleep,
) -> T:
    """Try until it works, as long as other processes are in the way: ``busy`` says so, ``pids`` which ones they are.

    ``rest`` lets the time until the next try pass. Raises CdmError if the time of ``CDM_WAIT`` is over, or the file
    system has no locks.
    """
    started, limit, said = time.monotonic(), os.environ.get(WAIT), ""
    while True:
        tried = time.monotonic()
        try:
            return attempt()
        except busy as error:
            _refuse_no_locks(error, what)
            holders = " and ".join(map(describe, pids(error))) or "another process"
            if limit is not None and time.monotonic() - started >= float(limit):
                raise CdmError(
                    f"gave up waiting for {what} after {float(limit):g} s: {holders} holds it. Nothing is lost; "
                    f"run again when it ends, or wait longer (--wait, {WAIT})"
                ) from None
            if holders != said:
                log.info("waiting for %s, which %s holds", what, holders)
                said = holders
            spent = time.monotonic() - tried  # looking takes locks too: others must get their turn, DVC within 3 s
            rest(0.3 if spent > 2.5 else min(5.0, max(0.3, 5 * spent)))


def _refuse_no_locks(error: BaseException, what: str) -> None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    if cause is not None and cause.errno not in (errno.EAGAIN, errno.EACCES):
        raise CdmError(
            f"{what} cannot be locked ({cause.strerror}): the file system has no flock. Move the project to one that "
            "has, or mount it with flock"
        ) from None


def describe(pid: int) -> str:
    """A process in words: its command, its id, and since when it runs."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(process.create_time()))
        command = [Path(word).name if i < 2 else word for i, word in enumerate(process.cmdline())]
        words = command[1:] if command and command[0].startswith("python") else command
        return f"`{' '.join(' '.join(words).split())[:200]}` (pid {pid}, since {since})"
    return f"a process that has just ended (pid {pid})"


def blockers(error: Exception) -> list[int]:
    """The processes that DVC's error says are in the way. Raises CdmError if this one runs inside one of them."""
    import psutil

    found = [int(pid) for pid in dict.fromkeys(re.findall(r"\(PID (\d+)\)", str(error)))]
    for parent in psutil.Process().parents():
        if parent.pid in found:
            raise CdmError(f"{describe(parent.pid)} runs this very command, so it cannot wait for that")
    return found


def lives(pid: int) -> bool:
    """Whether a process that wrote its id into DVC's table is still there, rather than another one of its number."""
    import psutil

    try:
        process = psutil.Process(pid)
        program = Path(process.exe()).name or "python"  # which cannot always be told
        writes = any(word in program for word in ("python", "pypy", "dvc"))  # DVC also comes as one binary
        return writes and pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:  # somebody else's
        return True
    except psutil.Error:
        return False


def holder(lock: Path) -> list[int]:
    """The process whose id is in a lock's file, if one is."""
    try:
        return [int(lock.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return []


@contextmanager
def only_process(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time into the block, whatever becomes of the others: the kernel frees a dead one's lock.

    The file holds the process's id until the block ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        patiently(lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB), OSError, lambda _: holder(path), what)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
