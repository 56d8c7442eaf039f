"""What a worker process does first: tie its life to its parent's and keep standard output for events."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any


def die_with_parent() -> None:
    """Have the kernel end this process when its parent ends, however that comes about (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def emitter(leader: bool) -> Callable[[dict[str, Any]], None]:
    """A function that prints an event as a JSON line in the leader; everything else that is printed goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print goes to stderr
    lock = threading.Lock()  # the checkpoint's thread emits too

    def emit(event: dict[str, Any]) -> None:
        if leader:
            with lock:
                out.write(json.dumps(event) + "\n")

    return emit
