"""Operations on runs, and how an MLflow server carries them out; see ``registry`` for those on models.

What no server took is kept in a journal until `kedro replay-runs` delivers it.
"""

import json
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.links import link_or_copy
from cdm_kedro.tracking.registry import EXPERIMENT, TIMEOUT, Operation, register

UNLOGGED = Path(".scratch/unlogged")
"""The journals' folder in the project: one file of JSON lines for each process that lost its server."""


class RefusedError(CdmError, RuntimeError):
    """The server answered that it does not take an operation; to ask again would not help."""


def default_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a SQLite file in the project.

    Under `dvc exp run --temp`, which works in a copy, it is the file of the project that was copied.
    """
    base = Path(os.environ.get("DVC_ROOT") or root)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{base.absolute()}/mlflow.db"


def is_refusal(error: Exception) -> bool:
    """Whether an error is the server's no (4xx) or our own mistake, and not an outage.

    Outages are connections that fail, timeouts, the server's own errors (5xx), and too many requests (429).
    """
    from requests import RequestException

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None and hasattr(error, "get_http_status_code"):
        status = error.get_http_status_code()
    if status is None:
        return not isinstance(error, (RequestException, ConnectionError, TimeoutError))
    return 400 <= status < 500 and status not in (408, 429)


class Deliverer:
    """A connection to an MLflow server that carries out operations one by one.

    ``ids``: MLflow's id of every run that this connection created, by our name of the run.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        import mlflow

        # MLflow's defaults make every call to a server that is away take minutes.
        os.environ.setdefault(TIMEOUT, "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        if uri.startswith("sqlite:///"):  # MLflow would try for more than a minute to open what is no database
            with closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=60)) as database:
                database.execute("PRAGMA schema_version")
        mlflow.set_tracking_uri(uri)
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        self.uri, self.artifacts = uri, artifacts
        self.ids: dict[str, str] = {}
        self.refused: set[str] = set()

    @cached_property
    def experiment(self) -> str:
        """Id of the project's experiment, which is created where the server does not have it."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            location = self.artifacts.absolute().as_uri() if self.uri.startswith("sqlite") else None
            tags = {"mlflow.experimentKind": "custom_model_development"}
            try:
                return str(self.client.create_experiment(EXPERIMENT, location, tags))
            except MlflowException:  # another process was faster
                found = self.client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return str(found.experiment_id)

    def apply(self, operation: Operation) -> Any:
        """Carry out one operation.

        Runs are called by our name or by MLflow's id. The operations, with what they need besides ``run``: ``create``
        (name, parent, tags), ``params``, ``tags`` (values), ``metrics`` (values, step), ``artifact`` (path, folder),
        ``datasets`` (values, see :func:`_datasets`), ``model`` (see :func:`register`), ``reopen``, ``end`` (status).
        Returns for ``create`` MLflow's id of the run, for ``model`` what was registered. Raises RefusedError if the
        server does not take it; operations on a run that it did not take do nothing.
        """
        actions = {
            "create": self._create,
            **dict.fromkeys(("params", "tags", "metrics"), self._values),
            "artifact": lambda run, op: self.client.log_artifact(run, op["path"], op["folder"]),
            "datasets": self._datasets,
            "model": lambda run, op: register(self.client, self.experiment, run, op),
            "reopen": lambda run, _: self.client.update_run(run, status="RUNNING"),
            "end": lambda run, op: self.client.set_terminated(run, op["status"], end_time=op["time"]),
        }
        run = operation["run"]
        if run in self.refused:
            return None
        try:
            return actions[operation["op"]](self.ids.get(run, run), operation)
        except Exception as error:
            if operation["op"] == "create":
                self.refused.add(run)
            if not is_refusal(error):
                raise
            what = " ".join(filter(None, (operation["op"], operation.get("name") or operation.get("path"))))
            raise RefusedError(f"{what}: {str(error).strip() or repr(error)}") from error

    def _create(self, run: str, op: Operation) -> str:
        tags, parent = dict(op["tags"]), op["parent"]
        if parent and parent not in self.refused:
            tags["mlflow.parentRunId"] = self.ids.get(parent, parent)
        created = self.client.create_run(self.experiment, run_name=op["name"], tags=tags, start_time=op["time"])
        self.ids[run] = created.info.run_id
        return self.ids[run]

    def _values(self, run: str, op: Operation) -> None:
        """Log parameters, tags or metrics, a hundred at a time, which is what a server takes at once."""
        from mlflow.entities import Metric, Param, RunTag

        make = {
            "params": lambda key, value: Param(key, str(value)[:6000]),
            "tags": lambda key, value: RunTag(key, str(value)[:5000]),
            "metrics": lambda key, value: Metric(key, value, op["time"], op["step"]),
        }[op["op"]]
        items = [make(key, value) for key, value in op["values"].items()]
        for start in range(0, len(items), 100):
            self.client.log_batch(run, **{op["op"]: items[start : start + 100]})

    def _datasets(self, run: str, op: Operation) -> None:
        """Note which data sets a run read: for each name its digest, source and profile, and its context."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        for name, one in op["values"].items():
            source, profile = json.dumps({"uri": one["source"]}), json.dumps(one["profile"])
            dataset = Dataset(name, one["digest"], "local", source, None, profile)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", one["context"])]))
        self.client.log_inputs(run, inputs)

    def check(self) -> None:
        """Raise what MLflow's client raises where the server does not answer."""
        self.client.get_experiment_by_name(EXPERIMENT)

    def end_abandoned(self, host: str) -> None:
        """End the runs of a machine whose process is gone (SIGKILL, power cut) and that would say RUNNING for ever."""
        import psutil

        try:
            for run in self.client.search_runs([self.experiment], "attributes.status = 'RUNNING'"):
                tags = run.data.tags
                if tags.get("cdm.host") == host and not psutil.pid_exists(int(tags.get("cdm.pid", "-1"))):
                    self.client.set_terminated(run.info.run_id, "KILLED")
        except Exception as error:
            if not is_refusal(error):
                raise


class Journal:
    """The journal of this process; its file comes into being with the first operation."""

    def __init__(self, root: Path) -> None:
        self.path = root / UNLOGGED / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        self._count = 0

    def append(self, operation: Operation, ids: Mapping[str, str]) -> None:
        """Keep an operation and its files, whatever is trained later.

        ``ids``: our name of a run to MLflow's id, for the runs that the server has.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._count += 1
        kept = _with_files(operation, self.path.with_suffix("") / str(self._count))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(kept, ids))


def _with_files(operation: Operation, place: Path) -> Operation:
    """The operation with its files under second names in ``place``."""
    kept = dict(operation)
    if operation["op"] == "artifact" and Path(operation["path"]).exists():
        kept["path"] = str(place / Path(operation["path"]).name)
        link_or_copy(Path(operation["path"]), Path(kept["path"]))
    elif operation["op"] == "model":
        if operation["folder"]:
            kept["folder"] = str(place / "folder")
            shutil.copytree(operation["folder"], kept["folder"])
        kept["files"] = {inside: str(place / "files" / inside) for inside in operation["files"]}
        for inside, path in operation["files"].items():
            link_or_copy(Path(path), Path(kept["files"][inside]))
    return kept


def _line(operation: Operation, ids: Mapping[str, str]) -> str:
    known = {key: ids.get(operation[key], operation[key]) for key in ("run", "parent") if operation.get(key)}
    return json.dumps({**operation, **known}) + "\n"


def replay(root: Path) -> tuple[int, list[str]]:
    """Deliver every journal of a project, oldest first; what a server refuses is set aside and holds up nothing else.

    Returns how many operations were delivered, and what was refused with the server's words, which is in ``*.refused``
    now. Raises what MLflow's client raises where no server answers; the journals keep what is left.
    """
    delivered, refused = 0, list[str]()
    for path in sorted((root / UNLOGGED).glob("*.jsonl")):
        deliverer = Deliverer(default_tracking_uri(root), root / "mlruns")
        waiting = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        aside: list[Operation] = []
        try:
            while waiting:
                orphan = waiting[0]["run"] in deliverer.refused
                try:
                    deliverer.apply(waiting[0])
                    delivered += not orphan
                except Exception as error:
                    if not isinstance(error, RefusedError):
                        deliverer.check()  # where it answers, this operation is what it fails at
                    refused.append(str(error))
                    orphan = True
                aside += waiting[:1] if orphan else []
                waiting.pop(0)
        finally:
            for kept, file in ((waiting, path), (aside, path.with_suffix(".refused"))):
                if kept:
                    write_text(file, "".join(_line(operation, deliverer.ids) for operation in kept))
        path.unlink()
        if not aside:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    return delivered, refused
