"""Operations on runs and models, and how an MLflow server carries them out; no other file writes to MLflow."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

EXPERIMENT = "cdm-kedro"
"""Name of the project's experiment, and the first part of its registered models' names."""
Operation = dict[str, Any]
"""JSON values: ``op`` says what to do, ``run`` to which run, ``time`` when it happened (milliseconds since 1970)."""


def default_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a SQLite file in the project.

    Under `dvc exp run --temp`, which works in a copy, it is the file of the project that was copied.
    """
    base = Path(os.environ.get("DVC_ROOT") or root)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{base.absolute()}/mlflow.db"


class Deliverer:
    """A connection to an MLflow server that carries out operations one by one.

    Args:
        uri: address of the server, or of a local store.
        artifacts: folder for the artifacts of a local store.

    Attributes:
        ids: MLflow's id of every run that this connection created, by our name of the run.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        import mlflow

        # MLflow's defaults make every call to a server that is away take minutes.
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
        """Id of the project's experiment, which is created where the server does not have it."""
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

    def apply(self, operation: Operation) -> str | None:
        """Carry out one operation.

        Runs are called by our name or by MLflow's id. The operations, with what they need besides ``run``:
        ``create`` (name, parent, tags), ``params``, ``tags`` (values), ``metrics`` (values, step), ``artifact`` (path,
        folder), ``model`` (name, source, tags), ``reopen``, ``end`` (status).

        Returns:
            MLflow's id of the run that was created.
        """
        actions = {
            "create": self._create,
            "params": self._params,
            "tags": self._tags,
            "metrics": self._metrics,
            "artifact": lambda run, op: self.client.log_artifact(run, op["path"], op["folder"]),
            "model": self._register,
            "reopen": lambda run, _: self.client.update_run(run, status="RUNNING"),
            "end": lambda run, op: self.client.set_terminated(run, op["status"], end_time=op["time"]),
        }
        run = operation["run"]
        return actions[operation["op"]](self.ids.get(run, run), operation)

    def _create(self, run: str, op: Operation) -> str:
        parent = {"mlflow.parentRunId": self.ids.get(op["parent"], op["parent"])} if op["parent"] else {}
        created = self.client.create_run(
            self.experiment, run_name=op["name"], tags={**op["tags"], **parent}, start_time=op["time"]
        )
        self.ids[run] = created.info.run_id
        return self.ids[run]

    def _params(self, run: str, op: Operation) -> None:
        from mlflow.entities import Param

        for some in _parts(op["values"], 100):
            self.client.log_batch(run, params=[Param(key, str(value)[:6000]) for key, value in some])

    def _tags(self, run: str, op: Operation) -> None:
        from mlflow.entities import RunTag

        for some in _parts(op["values"], 100):
            self.client.log_batch(run, tags=[RunTag(key, str(value)[:5000]) for key, value in some])

    def _metrics(self, run: str, op: Operation) -> None:
        from mlflow.entities import Metric

        for some in _parts(op["values"], 500):
            self.client.log_batch(run, metrics=[Metric(key, value, op["time"], op["step"]) for key, value in some])

    def _register(self, run: str, op: Operation) -> None:
        """Add a version of a registered model; the one with the lowest final loss is called ``champion``."""
        from mlflow.exceptions import MlflowException

        name = op["name"]
        with suppress(MlflowException):  # it exists
            self.client.create_registered_model(name)
        version = self.client.create_model_version(name, source=op["source"], run_id=run, tags=op["tags"])
        self.client.set_registered_model_alias(name, "latest-trained", version.version)
        versions = [v for v in self.client.search_model_versions(f"name = '{name}'") if "final_loss" in v.tags]
        if versions:
            best = min(versions, key=lambda version: float(version.tags["final_loss"]))
            self.client.set_registered_model_alias(name, "champion", best.version)

    def end_abandoned(self, host: str) -> None:
        """End the runs of a machine whose process is gone (SIGKILL, power cut) and that would say RUNNING for ever."""
        import psutil

        for run in self.client.search_runs([self.experiment], "attributes.status = 'RUNNING'"):
            tags = run.data.tags
            if tags.get("cdm.host") == host and not psutil.pid_exists(int(tags.get("cdm.pid", "-1"))):
                self.client.set_terminated(run.info.run_id, "KILLED")


def _parts(values: dict[str, Any], most: int) -> list[list[tuple[str, Any]]]:
    """The items in parts that a server takes at once."""
    items = list(values.items())
    return [items[start : start + most] for start in range(0, len(items), most)]
