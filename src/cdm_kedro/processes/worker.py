"""What every worker process does: find its place under torchrun, print events, open a device, end with its parent."""

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    import torch

PARENT = "CDM_PARENT"
"""Environment variable that tells a process who started it, for the case that it is gone before anybody looks."""
_GRACE_SECONDS = 150.0  # more than torchrun gives its processes to save their state
FOLLOWER = "CDM_FOLLOWER"
"""Set in the processes of nodes that Kedro does not run on, where all nodes read the same job."""


class Place(NamedTuple):
    """A process's rank, the number of processes, and its rank on this node."""

    rank: int
    size: int
    local: int

    @property
    def leads(self) -> bool:
        """Whether it is the first process of the node that Kedro runs on, as far as the environment says."""
        return self.local == 0 and FOLLOWER not in os.environ


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux only)."""
    parent = int(os.environ.pop(PARENT, "0")) or os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before the kernel knew
            os.kill(os.getpid(), signal.SIGKILL)


def end_with(pid: int) -> None:
    """Send this process SIGTERM when one above it ends, so that it saves its state, and SIGKILL later."""
    import psutil

    def watch(process: psutil.Process) -> None:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, args=(psutil.Process(pid),), daemon=True, name="parent").start()


def begin() -> Place:
    """Have this process end with its parent, and find its place."""
    end_with_parent()
    return Place(*(int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))))


def emitter(prints: bool) -> Callable[[dict[str, Any]], None]:
    """A function that prints an event as one JSON line. Everything else that is printed goes to standard error.

    Lines of several processes do not mix, because a line below 4 KiB is one write.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()  # the thread that writes checkpoints emits too

    def emit(event: dict[str, Any]) -> None:
        if prints:
            with lock:
                out.write(json.dumps(event) + "\n")

    return emit


def open_device(place: Place) -> "torch.device":
    """Make this process's GPU the current one and return it, or return the CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", place.local)
    torch.cuda.set_device(device)
    return device


def run(main: Callable[[str], int]) -> NoReturn:
    """Call ``main`` with the first command-line argument and end the process with the code that it returns."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # torchrun then shows the traceback of the first failure
        from torch.distributed.elastic.multiprocessing.errors import record

        main = record(main)
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # FFCV's daemon threads would crash in the interpreter's clean-up
