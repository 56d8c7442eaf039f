"""A queue that a thread delivers to MLflow, so that a slow server never slows the work; and a machine's load for it."""

import logging
import queue
import socket
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

from cdm_kedro.tracking.delivery import Deliverer, Journal, RefusedError, default_tracking_uri
from cdm_kedro.tracking.registry import UPLOAD_RATE, Operation

AFTER_SECONDS, EVERY_SECONDS = 60.0, 10.0
"""Shorter stages log nothing; longer ones log at this interval."""

log = logging.getLogger(__name__)

WAIT_SECONDS = 30.0
"""The longest that the work waits for the server at the end of a stage or for an answer, apart from uploads.

Models that a server takes may cost as long as they take at ``UPLOAD_RATE``.
"""


class Recorder:
    """Delivers operations in the order of :meth:`submit`, in a thread of its own.

    What the server refuses is said and left out. When the server does not answer, that operation and all that follow go
    to the journal. The work goes on in both cases.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._queue: queue.Queue[tuple[Operation, Future[Any]]] = queue.Queue()
        self._journal = Journal(root)
        self._deliverer: Deliverer | None = None
        self._uri = default_tracking_uri(root)
        self._offline = False
        self._upload_seconds = 0.0
        self._said: set[str] = set()
        self._created: dict[str, Future[Any]] = {}
        threading.Thread(target=self._work, daemon=True, name="mlflow").start()

    def submit(self, **operation: Any) -> Future[Any]:
        """Queue one operation; see :meth:`Deliverer.apply` for what there is.

        Returns what :meth:`Deliverer.apply` returns; None where the operation was refused or went to the journal.
        """
        operation.setdefault("time", int(time.time() * 1000))
        answer: Future[Any] = Future()
        if operation["op"] == "create":
            self._created[operation["run"]] = answer
        elif operation["op"] == "model" and not self._uri.startswith("sqlite"):
            self._upload_seconds += sum(Path(path).stat().st_size for path in operation["files"].values()) / UPLOAD_RATE
        self._queue.put((operation, answer))
        return answer

    def run_id(self, run: str) -> str | None:
        """MLflow's id of a run; None where the server does not give it in time."""
        return self.answer(self._created[run])

    def answer(self, future: Future[Any]) -> Any:
        """What the server answered to an operation; None where it does not answer in time."""
        try:
            return future.result(WAIT_SECONDS + self._upload_seconds)
        except NotYet:
            return None

    def _work(self) -> None:
        while True:
            operation, answer = self._queue.get()
            try:
                answer.set_result(self._deliver(operation))
            except Exception as error:  # the journal cannot be written either, for example on a full disk
                log.warning("%s of a run is lost: %s", operation["op"], error)
                answer.set_result(None)
            self._queue.task_done()

    def _deliver(self, operation: Operation) -> Any:
        if not self._offline:
            try:
                if self._deliverer is None:
                    self._deliverer = Deliverer(self._uri, self.root / "mlruns")
                    self._deliverer.end_abandoned(socket.gethostname())
                return self._deliverer.apply(operation)
            except RefusedError as error:
                if str(error) not in self._said:
                    self._said.add(str(error))
                    log.warning("MLflow at %s refuses %s", self._uri, error)
                return None
            except Exception as error:  # whatever the server does, the work goes on
                self._offline = True
                log.warning(
                    "MLflow at %s does not answer (%s). Going on without it; "
                    "`kedro replay-runs` delivers what is missing later.",
                    self._uri,
                    str(error).splitlines()[0][:200],
                )
        self._journal.append(operation, self._deliverer.ids if self._deliverer is not None else {})
        return None

    def flush(self) -> None:
        """Wait until everything in the queue is delivered or in the journal, but no longer than is stated above."""
        deadline = time.monotonic() + WAIT_SECONDS + self._upload_seconds
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.02)
        self._upload_seconds = 0.0
        if self._queue.unfinished_tasks:
            self._offline = True
            log.warning("MLflow is too slow; what is left goes to %s for `kedro replay-runs`.", self._journal.path)
            while self._queue.unfinished_tasks > 1 and time.monotonic() < deadline + 5:
                time.sleep(0.02)

    @property
    def deliverer(self) -> Deliverer | None:
        """The connection to the server, or None where there is none."""
        return None if self._offline else self._deliverer


class SystemMetrics:
    """Logs the load of processor, memory, disk, network and GPU to a run from its first minute on, in a thread.

    Names and values are those of MLflow's own system metrics, so its pages show them.
    """

    def __init__(self, recorder: Recorder, run: str) -> None:
        self._recorder, self._run = recorder, run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="system metrics")
        self._thread.start()

    def _watch(self) -> None:
        if self._over.wait(AFTER_SECONDS):
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        machine, step = SystemMetricsMonitor(self._run), 0  # never started: it would log past the queue
        while not self._over.wait(EVERY_SECONDS):
            machine.collect_metrics()
            values = {f"system/{key}": float(value) for key, value in machine.aggregate_metrics().items()}
            for monitor in machine.monitors:
                monitor.clear_metrics()
            self._recorder.submit(op="metrics", run=self._run, values=values, step=step)
            step += 1

    def stop(self) -> None:
        """Log nothing more."""
        self._over.set()
        self._thread.join(EVERY_SECONDS)
