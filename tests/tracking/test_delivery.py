"""What a real server refuses, and what counts as an outage."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from cdm_kedro.tracking.delivery import Deliverer, Journal, RefusedError, is_refusal, replay
from cdm_kedro.tracking.recorder import Recorder


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("no", response=response)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}), True),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "no"}), True),
        (RestException({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "later"}), False),
        (RestException({"error_code": "INTERNAL_ERROR", "message": "oh"}), False),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "oh"}), False),
        (MlflowException("API request failed with exception: connection refused"), False),
        (answered(403), True),
        (answered(413), True),
        (answered(429), False),
        (answered(503), False),
        (requests.ConnectionError("nobody"), False),
        (ConnectionResetError("gone"), False),
        (TimeoutError("slow"), False),
        (FileNotFoundError("no such picture"), True),
    ],
)
def test_only_what_may_work_later_is_an_outage(error: Exception, refusal: bool) -> None:
    assert is_refusal(error) == refusal


@pytest.fixture
def on_server(server: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client; the project's runs go to the server."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return mlflow.MlflowClient(tracking_uri=server)


def wrong_metric(step: int) -> dict[str, Any]:
    return {"op": "metrics", "run": "r", "values": {"a:b{c}": 1.0}, "step": step, "time": 1}


def named(client: Any, name: str) -> Any:
    experiment = client.get_experiment_by_name("cdm-kedro").experiment_id
    return client.search_runs([experiment], f"attributes.run_name = '{name}'")[0]


def test_a_refusal_is_said_once_and_holds_up_nothing(
    on_server: Any, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(root)
    recorder.submit(op="create", run="r", parent=None, name="refusing", tags={})
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            recorder.submit(**wrong_metric(step))
            recorder.submit(op="metrics", run="r", values={"loss": 1.0}, step=step)
        recorder.submit(op="artifact", run="r", path=str(root / "missing.png"), folder=None)
        recorder.submit(op="end", run="r", status="FINISHED")
        recorder.flush()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2 and "refuses metrics: " in messages[0] and "a:b{c}" in messages[0]
    assert "refuses artifact" in messages[1] and "missing.png" in messages[1]
    run = named(on_server, "refusing")
    assert run.info.status == "FINISHED" and run.data.metrics == {"loss": 1.0}
    assert len(on_server.get_metric_history(run.info.run_id, "loss")) == 3
    assert not (root / ".scratch").exists() and recorder.deliverer is not None


def test_what_belongs_to_a_refused_run_is_left_out(on_server: Any, root: Path) -> None:
    deliverer = Deliverer(on_server.tracking_uri, root / "mlruns")
    create = {"op": "create", "parent": None, "tags": {}, "time": 1, "name": "x"}
    with pytest.raises(RefusedError, match="create parent: "):
        deliverer.apply({**create, "run": "p", "name": "parent", "tags": {"mlflow.runName": "another"}})
    assert deliverer.apply({"op": "metrics", "run": "p", "values": {"a": 1.0}, "step": 0, "time": 1}) is None
    run = on_server.get_run(deliverer.apply({**create, "run": "c", "parent": "p", "name": "child"}))
    assert "mlflow.parentRunId" not in run.data.tags


def test_replay_delivers_what_it_can_and_sets_aside_what_is_refused(on_server: Any, root: Path) -> None:
    journal = Journal(root)
    (root / "grid.png").write_text("the picture of then")
    (root / "w").write_text("the weights of then")
    model = {"op": "model", "run": "r", "name": "cdm-kedro-replayed", "content": "c", "folder": None, "tags": {}}
    model |= {"files": {"w": str(root / "w")}, "description": "", "metrics": {}, "score": None, "time": 1}
    for operation in (
        {"op": "create", "run": "r", "parent": None, "name": "replayed", "tags": {}, "time": 1000},
        wrong_metric(0),
        {"op": "artifact", "run": "r", "path": str(root / "grid.png"), "folder": None, "time": 1},
        model,
        {"op": "end", "run": "r", "status": "FINISHED", "time": 4000},
    ):
        journal.append(operation, {})
    for name in ("grid.png", "w"):  # made anew before the server comes back
        (root / f"{name}.part").write_text("of now")
        (root / f"{name}.part").replace(root / name)
    delivered, (refused,) = replay(root)
    assert delivered == 4 and refused.startswith("metrics: ") and "a:b{c}" in refused
    run = named(on_server, "replayed")
    assert run.info.status == "FINISHED" and run.info.start_time == 1000
    download = Path(on_server.download_artifacts(run.info.run_id, "grid.png", str(root)))
    assert download.read_text() == "the picture of then"
    import mlflow

    found = Path(mlflow.artifacts.download_artifacts("models:/cdm-kedro-replayed/1"))
    assert (found / "w").read_text() == "the weights of then"
    (aside,) = (root / ".scratch/unlogged").glob("*.refused")
    assert json.loads(aside.read_text())["values"] == {"a:b{c}": 1.0}
    assert replay(root) == (0, [])


def test_replay_goes_on_after_what_makes_the_server_fail(
    root: Path, monkeypatch: pytest.MonkeyPatch, runs: Callable[[], dict[str, Any]]
) -> None:
    journal, real = Journal(root), Deliverer.apply
    for operation in (
        {"op": "create", "run": "bad", "parent": None, "name": "bad", "tags": {}, "time": 1},
        {"op": "end", "run": "bad", "status": "FINISHED", "time": 2},
        {"op": "create", "run": "good", "parent": None, "name": "good", "tags": {}, "time": 1},
    ):
        journal.append(operation, {})

    def fails(self: Deliverer, operation: dict[str, Any]) -> Any:
        if operation.get("name") == "bad":
            self.refused.add("bad")
            raise MlflowException("the server's own error")
        return real(self, operation)

    monkeypatch.setattr(Deliverer, "apply", fails)
    assert replay(root) == (1, ["the server's own error"]) and set(runs()) == {"good"}
    (aside,) = (root / ".scratch/unlogged").iterdir()
    assert [json.loads(line)["op"] for line in aside.read_text().splitlines()] == ["create", "end"]
    monkeypatch.setattr(Deliverer, "apply", real)
    aside.rename(aside.with_suffix(".jsonl"))
    assert replay(root) == (2, []) and runs()["bad"].info.status == "FINISHED"


def test_datasets_are_inputs_of_a_run(on_server: Any, root: Path) -> None:
    deliverer = Deliverer(on_server.tracking_uri, root / "mlruns")
    deliverer.apply({"op": "create", "run": "r", "parent": None, "name": "trained", "tags": {}, "time": 1})
    one = {"digest": "0" * 32, "source": "data/train_64.beton", "profile": {"num_images": 9}, "context": "training"}
    deliverer.apply({"op": "datasets", "run": "r", "values": {"train_64": one}, "time": 1})
    (found,) = on_server.get_run(deliverer.ids["r"]).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest, found.tags[0].value) == ("train_64", "0" * 32, "training")
    assert json.loads(found.dataset.profile) == {"num_images": 9}


@pytest.mark.parametrize("content", [None, "words\n" * 999])
def test_a_database_that_is_none_is_found_out_at_once(tmp_path: Path, content: str | None) -> None:
    database = tmp_path / "mlflow.db"
    database.mkdir() if content is None else database.write_text(content)
    started = time.monotonic()
    with pytest.raises(sqlite3.Error):
        Deliverer(f"sqlite:///{database}", tmp_path / "mlruns")
    assert time.monotonic() - started < 20  # MLflow tries for 79 s
