"""Causes an accident at a chosen line of life of a process: ``ACCIDENT=program|file|function|event|action``.

``program`` is kedro or dvc; ``file`` the end of a source file's path; ``event`` call or return; ``action`` kill, full
(the disk) or stop. A ``=word`` after the function asks that a text among the caller's variables ends with the word.
"""

import errno
import os
import signal
import sys
import threading

_wanted = os.environ.get("ACCIDENT")
_program = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""


def _watch(program: str, file: str, function: str, event: str, action: str) -> None:
    function, _, word = function.partition("=")

    def profile(frame, what, _):  # type: ignore[no-untyped-def]
        code = frame.f_code
        if what != event or code.co_name != function or not code.co_filename.endswith(file):
            return
        if word and not any(isinstance(v, str) and v.endswith(word) for v in frame.f_back.f_locals.values()):
            return
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(None)
        if action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if action == "full":
            raise OSError(errno.ENOSPC, "No space left on device")

    def install() -> None:
        sys.setprofile(profile)

    install()


if _wanted:
    parts = _wanted.split("|")
    # sys.argv is not set yet while site runs; the command line is.
    try:
        with open("/proc/self/cmdline", "rb") as stream:
            _words = [os.path.basename(w.decode()) for w in stream.read().split(b"\0")[:3]]
    except OSError:
        _words = []
    if parts[0] in _words and threading.current_thread() is threading.main_thread():
        _watch(*parts)
