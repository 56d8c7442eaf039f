"""Operations on runs and models, applied to an MLflow server; the only module that imports mlflow to write."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

EXPERIMENT = "cdm-kedro"


def default_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or a SQLite file in the project (the main checkout's, under `dvc exp run --temp`)."""
    base = Path(os.environ.get("DVC_ROOT") or root)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{base.absolute()}/mlflow.db"


class Deliverer:
    """Applies operations to an MLflow server, in order; see :func:`apply` for what they are.

    Args:
        uri: tracking server.
        artifacts: where a local store keeps artifacts.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        import mlflow

        # Without these an unreachable server holds every call for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.set_tracking_uri(uri)
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        self.uri, self.artifacts = uri, artifacts
        self.ids: dict[str, str] = {}
        self._experiment: str | None = None

    @property
    def experiment(self) -> str:
        """Id of the project's experiment, created if need be."""
        if self._experiment is None:
            found = self.client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                location = self.artifacts.absolute().as_uri() if self.uri.startswith("sqlite") else None
                self._experiment = self.client.create_experiment(
                    EXPERIMENT, artifact_location=location, tags={"mlflow.experimentKind": "custom_model_development"}
                )
            else:
                self._experiment = found.experiment_id
        return self._experiment

    def apply(self, op: dict[str, Any]) -> None:
        """Do one operation: create, params, metrics, tags, artifact, model or end (``run``: our name of it)."""
        from mlflow.entities import Metric, Param, RunTag

        kind, run = op["op"], op["run"]
        if kind == "create":
            tags = dict(op["tags"])
            if op["parent"]:
                tags["mlflow.parentRunId"] = self.ids.get(op["parent"], op["parent"])
            created = self.client.create_run(self.experiment, run_name=op["name"], tags=tags, start_time=op["time"])
            self.ids[run] = created.info.run_id
            return
        run_id = self.ids.get(run, run)
        if kind == "params":
            items = [Param(k, str(v)[:6000]) for k, v in op["values"].items()]
            for start in range(0, len(items), 100):
                self.client.log_batch(run_id, params=items[start : start + 100])
        elif kind == "metrics":
            self.client.log_batch(
                run_id, metrics=[Metric(k, v, op["time"], op["step"]) for k, v in op["values"].items()]
            )
        elif kind == "tags":
            self.client.log_batch(run_id, tags=[RunTag(k, str(v)[:5000]) for k, v in op["values"].items()])
        elif kind == "artifact":
            self.client.log_artifact(run_id, op["path"], op["folder"])
        elif kind == "model":
            self._register(run_id, op)
        elif kind == "end":
            self.client.set_terminated(run_id, op["status"], end_time=op["time"])
        elif kind == "reopen":
            self.client.update_run(run_id, status="RUNNING")

    def _register(self, run_id: str, op: dict[str, Any]) -> None:
        from mlflow.exceptions import MlflowException

        name = op["name"]
        with suppress(MlflowException):  # it exists
            self.client.create_registered_model(name)
        version = self.client.create_model_version(name, source=op["source"], run_id=run_id, tags=op["tags"])
        self.client.set_registered_model_alias(name, "latest-trained", version.version)
        best: tuple[float, str] | None = None
        for candidate in self.client.search_model_versions(f"name = '{name}'"):
            score = candidate.tags.get("final_loss")
            if score is not None and (best is None or float(score) < best[0]):
                best = (float(score), candidate.version)
        if best is not None:
            self.client.set_registered_model_alias(name, "champion", best[1])
