from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.tracking import recorder as module
from cdm_kedro.tracking.delivery import Deliverer
from cdm_kedro.tracking.recorder import Recorder

Runs = Callable[[], dict[str, Any]]


def test_many_values_arrive_whole(root: Path, runs: Runs) -> None:
    """A server takes at most 100 parameters and 1000 metrics at once."""
    recorder = Recorder(root)
    recorder.submit(op="create", run="r", parent=None, name="large", tags={})
    recorder.submit(op="params", run="r", values={f"p{i}": i for i in range(250)} | {"long": "x" * 9000})
    recorder.submit(op="metrics", run="r", values={f"m{i}": float(i) for i in range(1200)}, step=3)
    recorder.submit(op="tags", run="r", values={f"t{i}": i for i in range(150)})
    recorder.submit(op="end", run="r", status="FINISHED")
    recorder.flush()
    run = runs()["large"]
    assert len(run.data.params) == 251 and len(run.data.params["long"]) == 6000
    assert len(run.data.metrics) == 1200 and run.data.metrics["m1199"] == 1199 and run.data.tags["t149"] == "149"
    assert run.info.status == "FINISHED" and recorder.deliverer is not None


def test_submitting_never_waits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deliverer, "apply", lambda self, operation: time.sleep(0.5))
    recorder, started = Recorder(root), time.monotonic()
    for step in range(3):
        recorder.submit(op="metrics", run="r", values={"loss": 1.0}, step=step)
    assert time.monotonic() - started < 0.3
    recorder.flush()


def test_a_server_that_stops_answering_is_reported_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(root)
    recorder.submit(op="create", run="r", parent=None, name="a", tags={})
    assert recorder.run_id("r")

    def away(self: Deliverer, operation: dict[str, Any]) -> None:
        raise ConnectionError("nobody there\nand more")

    monkeypatch.setattr(Deliverer, "apply", away)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            recorder.submit(op="metrics", run="r", values={"loss": 1.0}, step=step)
        recorder.submit(op="create", run="s", parent=None, name="b", tags={})
        assert recorder.run_id("s") is None
        recorder.flush()
    assert [r.getMessage().count("(nobody there)") for r in caplog.records] == [1] and recorder.deliverer is None
    (journal,) = (root / ".scratch/unlogged").glob("*.jsonl")
    assert len(journal.read_text().splitlines()) == 4


def test_a_server_that_hangs_costs_the_stated_seconds(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(Deliverer, "apply", lambda self, operation: time.sleep(2))
    recorder, started = Recorder(root), time.monotonic()
    recorder.submit(op="create", run="r", parent=None, name="a", tags={})
    for step in range(2):
        recorder.submit(op="metrics", run="r", values={"loss": 1.0}, step=step)
    assert recorder.run_id("r") is None
    recorder.flush()
    assert time.monotonic() - started < 5 and "MLflow is too slow" in caplog.text
    (journal,) = (root / ".scratch/unlogged").glob("*.jsonl")
    assert [line.count('"metrics"') for line in journal.read_text().splitlines()] == [1, 1]


def test_a_journal_that_cannot_be_written_stops_no_work(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(module.Journal, "append", fails)
    recorder = Recorder(root)
    recorder.submit(op="create", run="r", parent=None, name="a", tags={})
    assert recorder.run_id("r") is None
    recorder.submit(op="end", run="r", status="FINISHED")
    recorder.flush()
    assert "create of a run is lost: no space left" in caplog.text and "end of a run is lost" in caplog.text


def test_runs_whose_process_is_gone_are_ended(root: Path, runs: Runs) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    here, first = socket.gethostname(), Recorder(root)
    owners = {"gone": (here, gone.stdout.strip()), "alive": (here, str(os.getpid())), "elsewhere": ("other", "1")}
    for name, (host, pid) in owners.items():
        tags = {"cdm.host": host, "cdm.pid": pid}
        first.submit(op="create", run=name, parent=None, name=name, tags=tags)
    first.flush()
    second = Recorder(root)
    second.submit(op="create", run="new", parent=None, name="new", tags={})
    second.flush()
    states = {name: run.info.status for name, run in runs().items()}
    assert states == {"gone": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING", "new": "RUNNING"}
