"""What worker processes have in common: their place under torchrun, events on standard output, device, signals, end."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

if TYPE_CHECKING:
    import torch


class Place(NamedTuple):
    """Where a process stands among all: its rank, their number, and its rank on this node."""

    rank: int
    size: int
    local: int


class Stoppable(Protocol):
    """A trainer that saves its state and ends after the step in which this is set."""

    stop_requested: bool


def begin() -> Place:
    """Have the kernel end this process when its parent ends, however that comes about (Linux only); find its place."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    return Place(*(int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))))


def emitter(speaks: bool) -> Callable[[dict[str, Any]], None]:
    """A function that prints an event as a JSON line if this process speaks; all else that is printed goes to stderr.

    A line of under 4 KiB is one write, so those of several processes do not mix.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print goes to stderr
    lock = threading.Lock()  # the checkpoint's thread emits too

    def emit(event: dict[str, Any]) -> None:
        if speaks:
            with lock:
                out.write(json.dumps(event) + "\n")

    return emit


def open_device(place: Place) -> torch.device:
    """This process's GPU, made the current one, or the CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", place.local)
    torch.cuda.set_device(device)
    return device


def join_training(place: Place) -> tuple[torch.device, int]:
    """Open the device and meet the other processes, if any; returns the device and the number of threads on the CPU."""
    import torch
    import torch.distributed as dist

    threads = int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads())
    torch.set_num_threads(threads)  # said outright: bits depend on it
    device = open_device(place)
    cuda = device.type == "cuda"
    if cuda:
        torch.backends.cudnn.benchmark = True
    if place.size > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    return device, threads


def leave_training(place: Place) -> None:
    """Wait for the other processes and part from them."""
    import torch.distributed as dist

    if place.size > 1:
        dist.barrier()
        dist.destroy_process_group()


def stop_on_signals(trainer: Stoppable, decides: bool) -> list[int]:
    """Have SIGINT and SIGTERM stop the trainer of the process that decides for all; returns the list they go to."""
    received: list[int] = []

    def on_signal(number: int, _: Any) -> None:
        received.append(number)
        if decides:  # the others hold the same state and are ended by torchrun
            trainer.stop_requested = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return received


def run(main: Callable[[str], int]) -> NoReturn:
    """Call ``main`` with the first argument and end the process with the code that it returns."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # then torchrun shows the traceback of the process that failed first
        from torch.distributed.elastic.multiprocessing.errors import record

        main = record(main)
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # FFCV's daemon threads may not outlive the interpreter's clean-up
