"""Ends this process when the process that it works for ends, however that comes about."""

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "CDM_PARENT"
"""Environment variable that tells a process who started it, for the case that it is gone before anybody looks."""
_GRACE_SECONDS = 60.0


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (Linux only)."""
    parent = int(os.environ.pop(PARENT, "0")) or os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before the kernel knew
            os.kill(os.getpid(), signal.SIGKILL)


def end_with(pid: int) -> None:
    """Send this process SIGTERM when one above it ends, so that it saves its state, and SIGKILL a minute later."""
    import psutil

    def watch(process: psutil.Process) -> None:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, args=(psutil.Process(pid),), daemon=True, name="parent").start()
