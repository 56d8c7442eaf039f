from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.tracking.delivery import UNLOGGED, Deliverer, Journal, replay


def operations() -> list[dict[str, Any]]:
    return [
        {"op": "create", "run": "p", "parent": None, "name": "parent", "tags": {}, "time": 1000},
        {"op": "create", "run": "c", "parent": "p", "name": "child", "tags": {"a": "b"}, "time": 2000},
        {"op": "metrics", "run": "c", "values": {"loss": 0.25}, "step": 4, "time": 3000},
        {"op": "end", "run": "c", "status": "FINISHED", "time": 4000},
        {"op": "end", "run": "p", "status": "FINISHED", "time": 5000},
    ]


def test_what_was_kept_is_delivered_once_with_its_times(root: Path, runs: Callable[[], dict[str, Any]]) -> None:
    journal = Journal(root)
    assert replay(root) == (0, []) and not journal.path.exists()
    for operation in operations():
        journal.append(operation, {})
    assert (replay(root), replay(root)) == ((5, []), (0, [])) and not journal.path.exists()
    child, parent = runs()["child"], runs()["parent"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id and child.data.metrics == {"loss": 0.25}
    assert (child.info.start_time, child.info.end_time, parent.info.end_time) == (2000, 4000, 5000)


def test_runs_that_the_server_knows_are_kept_under_its_ids(root: Path) -> None:
    journal = Journal(root)
    journal.append({"op": "create", "run": "c", "parent": "p", "name": "child", "tags": {}, "time": 0}, {"p": "ID"})
    assert json.loads(journal.path.read_text())["parent"] == "ID"


def test_delivery_that_stops_goes_on_where_it_stopped(
    root: Path, monkeypatch: pytest.MonkeyPatch, runs: Callable[[], dict[str, Any]]
) -> None:
    journal = Journal(root)
    for operation in operations():
        journal.append(operation, {})
    real, left = Deliverer.apply, 2

    def stops(self: Deliverer, operation: dict[str, Any]) -> str | None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ConnectionError("away")
        return real(self, operation)

    monkeypatch.setattr(Deliverer, "apply", stops)
    monkeypatch.setattr(Deliverer, "check", lambda self: stops(self, {}))
    with pytest.raises(ConnectionError):
        replay(root)
    child = runs()["child"].info.run_id
    waiting = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [op["op"] for op in waiting] == ["metrics", "end", "end"] and waiting[0]["run"] == child
    assert list((root / UNLOGGED).iterdir()) == [journal.path]
    monkeypatch.setattr(Deliverer, "apply", real)
    assert replay(root) == (3, []) and runs()["child"].info.status == "FINISHED" and len(runs()) == 2
