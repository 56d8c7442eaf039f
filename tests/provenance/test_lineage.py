"""What the lineage asks MLflow."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from cdm_kedro.provenance.lineage import Lineage
from cdm_kedro.tracking.registry import EXPERIMENT


def test_quotes_in_a_path_stay_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=uri)
    tags = {"cdm.stage": "grids", "dvc.data/plain.npz": "123"}
    run = client.create_run(client.create_experiment(EXPERIMENT), tags=tags)
    client.set_terminated(run.info.run_id)
    lineage = Lineage(tmp_path)
    assert lineage._run("grids", "data/plain.npz", "123")["run"] == run.info.run_id
    for path in ("it's.npz", "a`b.npz", "plain.npz` = '123' or tags.`dvc.data/plain.npz", "two words.npz"):
        assert lineage._run("grids", f"data/{path}", "123") == {}
