"""A queue, a thread and a journal before MLflow, so that a slow server never slows training."""

from __future__ import annotations

import json
import logging
import os
import queue
import socket
import threading
import time
from pathlib import Path
from typing import Any

from cdm_kedro.tracking.delivery import Deliverer, default_tracking_uri

log = logging.getLogger(__name__)

UNLOGGED = Path(".scratch/unlogged")


_FLUSH_SECONDS = 30.0


class Recorder:
    """Queue, thread and journal before a :class:`Deliverer`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._journal = root / UNLOGGED / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        self._deliverer: Deliverer | None = None
        self._offline = False
        self._created: dict[str, threading.Event] = {}
        self._thread = threading.Thread(target=self._work, daemon=True, name="mlflow")
        self._thread.start()

    def submit(self, **op: Any) -> None:
        """Queue one operation."""
        op.setdefault("time", int(time.time() * 1000))
        if op["op"] == "create":
            self._created[op["run"]] = threading.Event()
        self._queue.put(op)

    def run_id(self, run: str) -> str | None:
        """MLflow's id of a run, waiting a while for the server."""
        self._created[run].wait(timeout=_FLUSH_SECONDS)
        return self._deliverer.ids.get(run) if self._deliverer is not None else None

    def _work(self) -> None:
        while (op := self._queue.get()) is not None:
            if not self._offline:
                try:
                    if self._deliverer is None:
                        self._deliverer = Deliverer(default_tracking_uri(self.root), self.root / "mlruns")
                        self._reap()
                    self._deliverer.apply(op)
                except Exception as error:  # whatever the server does, the work goes on
                    self._offline = True
                    log.warning(
                        "MLflow at %s does not answer (%s). Going on without it; "
                        "`kedro replay-runs` delivers what is missing later.",
                        default_tracking_uri(self.root),
                        str(error).splitlines()[0][:200],
                    )
            if self._offline:
                self._to_journal(op)
            if op["op"] == "create":
                self._created[op["run"]].set()
            self._queue.task_done()

    def _to_journal(self, op: dict[str, Any]) -> None:
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(_journal_line(op, self._deliverer.ids if self._deliverer is not None else {}))

    def _reap(self) -> None:
        """Runs of this machine whose process is gone (SIGKILL, power cut) would say RUNNING for ever."""
        import psutil

        assert self._deliverer is not None
        client = self._deliverer.client
        for run in client.search_runs([self._deliverer.experiment], "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if tags.get("cdm.host") == socket.gethostname() and not psutil.pid_exists(int(tags.get("cdm.pid", "-1"))):
                client.set_terminated(run.info.run_id, "KILLED")

    def flush(self) -> None:
        """Wait, not for ever, until everything queued is delivered or journalled."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._queue.unfinished_tasks:
            self._offline = True
            log.warning("MLflow is too slow; what is left goes to %s for `kedro replay-runs`.", self._journal)
            while self._queue.unfinished_tasks > 1 and time.monotonic() < deadline + 5:
                time.sleep(0.02)

    @property
    def deliverer(self) -> Deliverer | None:
        """The connection, if there is one."""
        return None if self._offline else self._deliverer


def _journal_line(op: dict[str, Any], known: dict[str, str]) -> str:
    """An operation as JSON, with MLflow's ids of the runs that it has."""
    names = {key: known.get(op[key], op[key]) for key in ("run", "parent") if op.get(key)}
    return json.dumps({**op, **names}) + "\n"


def replay(root: Path) -> int:
    """Deliver every journal; what a server does not take stays in it.

    Returns:
        How many operations were delivered.
    """
    count = 0
    for journal in sorted((root / UNLOGGED).glob("*.jsonl")):
        deliverer = Deliverer(default_tracking_uri(root), root / "mlruns")
        waiting = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        try:
            while waiting:
                deliverer.apply(waiting[0])
                waiting.pop(0)
                count += 1
        finally:
            if waiting:
                part = journal.with_suffix(".part")
                part.write_text("".join(_journal_line(op, deliverer.ids) for op in waiting), encoding="utf-8")
                part.replace(journal)
        journal.unlink()
    return count
