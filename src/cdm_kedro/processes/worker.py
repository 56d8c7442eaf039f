"""What every worker process does: find its place under torchrun, print events, open a device, obey signals, end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from cdm_kedro.processes.parent import end_with_parent

if TYPE_CHECKING:
    import torch


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


class Stoppable(Protocol):
    """A trainer that saves its state and ends after the step in which ``stop_requested`` is set."""

    stop_requested: bool


def begin() -> Place:
    """Have this process end with its parent, and find its place."""
    end_with_parent()
    return Place(*(int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))))


def emitter(prints: bool) -> Callable[[dict[str, Any]], None]:
    """A function that prints an event as one JSON line. Everything else that is printed goes to standard error.

    Lines of several processes do not mix, because a line below 4 KiB is one write.

    Args:
        prints: whether this process prints its events.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()  # the thread that writes checkpoints emits too

    def emit(event: dict[str, Any]) -> None:
        if prints:
            with lock:
                out.write(json.dumps(event) + "\n")

    return emit


def open_device(place: Place) -> torch.device:
    """Make this process's GPU the current one and return it, or return the CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", place.local)
    torch.cuda.set_device(device)
    return device


def join_training(place: Place) -> tuple[torch.device, int]:
    """Open the device and meet the other processes, if any. Returns the device and the number of CPU threads."""
    import torch
    import torch.distributed as dist

    threads = int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads())
    torch.set_num_threads(threads)  # set explicitly, because results depend on it to the last bit
    device = open_device(place)
    cuda = device.type == "cuda"
    if cuda:
        torch.backends.cudnn.benchmark = True
    if place.size > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    return device, threads


def leave_training(place: Place) -> None:
    """Wait for the other processes and leave their group."""
    import torch.distributed as dist

    if place.size > 1:
        dist.barrier()
        dist.destroy_process_group()


def stop_on_signals(trainer: Stoppable, decides: bool) -> list[int]:
    """Let SIGINT and SIGTERM stop the trainer of the process that ``decides`` for all; return the signals received."""
    received: list[int] = []

    def on_signal(number: int, _: Any) -> None:
        received.append(number)
        if decides:  # torchrun ends the others, which hold the same state
            trainer.stop_requested = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return received


def run(main: Callable[[str], int]) -> NoReturn:
    """Call ``main`` with the first command-line argument and end the process with the code that it returns."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # torchrun then shows the traceback of the first failure
        from torch.distributed.elastic.multiprocessing.errors import record

        main = record(main)
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # FFCV's daemon threads would crash in the interpreter's clean-up
