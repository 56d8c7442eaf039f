"""A queue that a thread delivers to MLflow, so that a slow server never slows the work."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

from cdm_kedro.tracking.delivery import Deliverer, Operation, default_tracking_uri
from cdm_kedro.tracking.journal import Journal

log = logging.getLogger(__name__)

WAIT_SECONDS = 30.0
"""The longest that the work waits for the server, at the end of a stage or for the id of a run."""


class Recorder:
    """Delivers operations in the order of :meth:`submit`, in a thread of its own.

    When the server does not answer, this operation and all that follow go to the journal, and the work goes on.

    Args:
        root: project folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._queue: queue.Queue[tuple[Operation, Future[str | None]]] = queue.Queue()
        self._journal = Journal(root)
        self._deliverer: Deliverer | None = None
        self._offline = False
        self._created: dict[str, Future[str | None]] = {}
        threading.Thread(target=self._work, daemon=True, name="mlflow").start()

    def submit(self, **operation: Any) -> None:
        """Queue one operation; see :meth:`Deliverer.apply` for what there is."""
        operation.setdefault("time", int(time.time() * 1000))
        answer: Future[str | None] = Future()
        if operation["op"] == "create":
            self._created[operation["run"]] = answer
        self._queue.put((operation, answer))

    def run_id(self, run: str) -> str | None:
        """MLflow's id of a run; None where the server does not give it in time."""
        try:
            return self._created[run].result(WAIT_SECONDS)
        except NotYet:
            return None

    def _work(self) -> None:
        while True:
            operation, answer = self._queue.get()
            answer.set_result(self._deliver(operation))
            self._queue.task_done()

    def _deliver(self, operation: Operation) -> str | None:
        if not self._offline:
            uri = default_tracking_uri(self.root)
            try:
                if self._deliverer is None:
                    self._deliverer = Deliverer(uri, self.root / "mlruns")
                    self._deliverer.end_abandoned(socket.gethostname())
                return self._deliverer.apply(operation)
            except Exception as error:  # whatever the server does, the work goes on
                self._offline = True
                log.warning(
                    "MLflow at %s does not answer (%s). Going on without it; "
                    "`kedro replay-runs` delivers what is missing later.",
                    uri,
                    str(error).splitlines()[0][:200],
                )
        self._journal.append(operation, self._deliverer.ids if self._deliverer is not None else {})
        return None

    def flush(self) -> None:
        """Wait until everything in the queue is delivered or in the journal, but no longer than ``WAIT_SECONDS``."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._queue.unfinished_tasks:
            self._offline = True
            log.warning("MLflow is too slow; what is left goes to %s for `kedro replay-runs`.", self._journal.path)
            while self._queue.unfinished_tasks > 1 and time.monotonic() < deadline + 5:
                time.sleep(0.02)

    @property
    def deliverer(self) -> Deliverer | None:
        """The connection to the server, or None where there is none."""
        return None if self._offline else self._deliverer
