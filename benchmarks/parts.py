"""Runs the parts of a benchmark in a process that can be ended in the middle of one, within a time budget."""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from cdm_kedro.processes.worker import end_with_parent

Figures = dict[str, Any]
Part = Callable[[], Figures]
_LEAST = 60.0  # seconds that a part has in any case, if the budget has them
_TOO_FEW = 5.0  # seconds of the budget in which no part ends


def measured(figures: Figures) -> bool:
    """Whether a part ran to its end."""
    return not figures.keys() & {"failed", "stopped", "left out"}


def _serve(parts: Connection) -> None:
    end_with_parent()
    os.setsid()
    while True:
        try:
            part = parts.recv()
        except EOFError:
            return
        try:
            found = part()
        except Exception as error:
            found = {"failed": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(BrokenPipeError):  # it was stopped meanwhile
            parts.send(found)


class Worker:
    """A process that runs one part after another. One that fails or takes too long ends it, and the next has a new one.

    So neither an error that CUDA keeps returning nor a compiler that does not come back costs more than its own part.
    """

    def __init__(self) -> None:
        self.process: Any = None

    def run(self, part: Part, seconds: float) -> Figures:
        """Return the part's figures, or how it failed or was stopped. It must be one that can be pickled."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")  # CUDA does not work in a fork of a process that has used it
            self.parts, theirs = context.Pipe()
            self.process = context.Process(target=_serve, args=(theirs,))
            self.process.start()
            theirs.close()
        try:
            self.parts.send(part)
            found: Figures = self.parts.recv() if self.parts.poll(seconds) else {"stopped": f"after {seconds:.0f} s"}
        except (EOFError, ConnectionError):
            self.process.join()
            found = {"failed": f"its process ended with code {self.process.exitcode}"}
        if found.keys() & {"failed", "stopped"}:
            self.end()
        return found

    def end(self) -> None:
        """End the process, and the compiler's with it; one that has nothing to do ends by itself."""
        if self.process is not None:
            self.parts.close()
            self.process.join(2)
        if self.process is not None and self.process.is_alive():
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not come so far as to have a group
                self.process.kill()
            self.process.join()
        self.process = None


def run_parts(
    parts: Mapping[str, Part], minutes: float, done: Callable[[Figures], object], worker: Worker | None = None
) -> Figures:
    """Run parts in turn; one may take half of the time that is left. ``done`` receives all figures after every part."""
    end, worker = time.monotonic() + 60 * minutes, worker or Worker()
    out: Figures = {}
    try:
        for name, part in parts.items():
            start = time.monotonic()
            left = end - start
            if left < _TOO_FEW:
                out[name] = {"left out": "the budget is spent"}
                continue
            out[name] = worker.run(part, min(left, max(_LEAST, left / 2)))
            out[name] |= {"seconds": time.monotonic() - start, "date": datetime.date.today().isoformat()}
            done(out)
            print(name)
            for key, value in out[name].items():
                print(
                    f"  {key:32}{value:12.3f}" if isinstance(value, float) else f"  {key:32}{value!s:>12}", flush=True
                )
    finally:
        worker.end()
    return out


def merged(before: Mapping[str, Any], about: Mapping[str, Any], parts: Mapping[str, Figures]) -> dict[str, Figures]:
    """Parts of earlier calls, on the same device with the same PyTorch, and those of this call that were measured."""
    same = all(before.get(key) == about[key] for key in ("device", "torch"))
    kept: dict[str, Figures] = dict(before["parts"]) if same else {}
    return kept | {name: found for name, found in parts.items() if measured(found) or name not in kept}
