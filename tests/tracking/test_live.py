from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.params.data import PreprocessParams
from cdm_kedro.tracking.live import LiveRun, enter, flatten, live
from cdm_kedro.tracking.recorder import Recorder


def test_leaves_have_dotted_keys() -> None:
    assert dict(flatten({"a": {"b": 1, "c": {"d": [2, 3]}}, "e": None})) == {"a.b": 1, "a.c.d": [2, 3], "e": None}
    assert dict(flatten({"preprocess": PreprocessParams(workers=2)}))["preprocess.workers"] == 2


def test_outside_a_run_logging_does_nothing(tmp_path: Path) -> None:
    assert live().run_id is None and live().key is None
    live().log_metrics({"loss": 1.0}, step=0)
    live().log_artifact(tmp_path / "missing.png")
    with live().nested("point", {"s": 1}) as point:
        point.log_metrics({"fd": 2.0}, step=0)


def test_a_stage_logs_to_its_run_and_to_points_below_it(root: Path, runs: Callable[[], dict[str, Any]]) -> None:
    recorder, tags = Recorder(root), {"cdm.key": "abc", "cdm.stage": "search"}
    recorder.submit(op="create", run="r", parent=None, name="search", tags=tags)
    enter(LiveRun(recorder, "r", tags))
    try:
        assert live().key == "abc"
        live().log_metrics({"loss": 0.5, "device": "cpu", "n": 3}, step=7)
        (root / "figure.txt").write_text("a figure")
        live().log_artifact("figure.txt", "figures")
        with live().nested("s 10", {"s": 10}, {"mode": "truncated"}) as point:
            point.log_metrics({"fd": 2.0}, step=0)
        with pytest.raises(KeyError), live().nested("s 20", {"s": 20}):
            raise KeyError
        found = live().run_id
    finally:
        enter(LiveRun())
        recorder.flush()
    made = runs()
    search, point = made["search"], made["s 10"]
    assert search.info.run_id == found and search.data.metrics == {"loss": 0.5, "n": 3.0}
    assert (root / "mlruns" / found / "artifacts/figures/figure.txt").read_text() == "a figure"
    assert point.data.tags["mlflow.parentRunId"] == found and point.data.params == {"s": "10"}
    assert point.data.tags["cdm.stage"] == "search" and point.data.tags["mode"] == "truncated"
    assert "cdm.key" not in point.data.tags  # it names the run that a skipped stage is linked to
    assert (point.info.status, made["s 20"].info.status) == ("FINISHED", "FAILED")
