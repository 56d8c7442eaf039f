"""One MLflow run for each executed stage, under one parent for each invocation. mlflow is imported here only, lazily.

Everything is an operation on a queue that a thread empties, so a slow server never slows training; what cannot be
delivered goes to a journal that `kedro replay-runs` delivers later.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

EXPERIMENT = "cdm-kedro"
PARENT_FILE = Path(".dvc/tmp/cdm_parent.json")
UNLOGGED = Path(".scratch/unlogged")
_FLUSH_SECONDS = 30.0


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings and pydantic models under dotted keys."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def default_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or a SQLite file in the project (the main checkout's, under `dvc exp run --temp`)."""
    base = Path(os.environ.get("DVC_ROOT") or root)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{base.absolute()}/mlflow.db"


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def commit() -> str | None:
    """Git commit of the working directory, or None outside git."""
    return _git(Path.cwd(), "rev-parse", "HEAD") or None


def _dvc_ancestor() -> dict[str, Any] | None:
    import psutil

    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            command = process.cmdline()
            if any(Path(word).name == "dvc" for word in command[:2]) or command[1:3] == ["-m", "dvc"]:
                return {"pid": process.pid, "created": process.create_time(), "cmd": " ".join(command[1:])}
    return None


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


class LiveRun:
    """The run of the stage in progress, as nodes see it; does nothing without one.

    Attributes:
        key: the stage's key, or None.
    """

    def __init__(self, recorder: Recorder | None = None, run: str = "", tags: dict[str, str] | None = None) -> None:
        self._recorder, self._run, self._tags = recorder, run, tags or {}
        self.key = self._tags.get("cdm.key")

    @property
    def run_id(self) -> str | None:
        """MLflow's id, or None."""
        return self._recorder.run_id(self._run) if self._recorder else None

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Record metrics at a step."""
        if self._recorder:
            finite = {k: float(v) for k, v in values.items() if isinstance(v, (int, float))}
            self._recorder.submit(op="metrics", run=self._run, values=finite, step=step)

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """Attach a file."""
        if self._recorder:
            self._recorder.submit(op="artifact", run=self._run, path=str(Path(path).absolute()), folder=folder)

    @contextmanager
    def child(self, name: str, params: dict[str, Any], tags: dict[str, str] | None = None) -> Iterator[LiveRun]:
        """A run below this one, for one point of a search."""
        if self._recorder is None:
            yield self
            return
        run, status = uuid.uuid4().hex, "FAILED"
        inherited = {key: value for key, value in self._tags.items() if key != "cdm.key"}  # that names the stage's run
        self._recorder.submit(op="create", run=run, parent=self._run, name=name, tags={**inherited, **(tags or {})})
        self._recorder.submit(op="params", run=run, values=dict(flatten(params)))
        try:
            yield LiveRun(self._recorder, run)
            status = "FINISHED"
        finally:
            self._recorder.submit(op="end", run=run, status=status)


_live = LiveRun()


def live() -> LiveRun:
    """The present stage's run."""
    return _live


class Tracking:
    """Runs of one invocation.

    Args:
        root: project folder.
        title: name of the parent run.
        env: environment, recorded as a tag.
        tags: of every run, besides.
    """

    def __init__(self, root: Path, title: str, env: str | None, tags: Mapping[str, str] | None = None) -> None:
        self.root, self.title = root, title
        self.recorder = Recorder(root)
        self.owner = {"cdm.host": socket.gethostname(), "cdm.pid": str(os.getpid())}
        self.common = {
            "git.commit": _git(root, "rev-parse", "HEAD"),
            "git.dirty": str(bool(_git(root, "status", "--porcelain", "--untracked-files=no"))),
            "cdm.env": env or "base",
            **{name.lower(): os.environ[name] for name in ("DVC_EXP_NAME",) if name in os.environ},
            **(tags or {}),
        }
        self._parent: str | None = None
        self._from_dvc = False

    def parent(self) -> str:
        """Our name of the parent run, created on first use; under `dvc repro` one for all its stages."""
        if self._parent is None:
            dvc = _dvc_ancestor() if "DVC_STAGE" in os.environ else None
            file = self.root / PARENT_FILE
            if dvc is not None:
                self._from_dvc = True
                with suppress(OSError, ValueError, KeyError):
                    known = json.loads(file.read_text())
                    if known["dvc"] == dvc and known["run"]:
                        self._parent = str(known["run"])
                        self.recorder.submit(op="reopen", run=self._parent)
                        return self._parent
            self._parent = uuid.uuid4().hex
            owner = {**self.owner, "cdm.pid": str(dvc["pid"])} if dvc else self.owner
            tags = {**self.common, **owner, "cdm.door": "dvc" if dvc else "kedro", "cdm.role": "cascade"}
            name = dvc["cmd"] if dvc else self.title
            self.recorder.submit(op="create", run=self._parent, parent=None, name=name, tags=tags)
            if dvc is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps({"dvc": dvc, "run": self.recorder.run_id(self._parent)}))
        return self._parent

    def skipped(self, stage: str, key: str) -> None:
        """Link the parent run to the run that made a fresh stage's outputs."""
        parent = self.parent()
        self.recorder.flush()
        if (deliverer := self.recorder.deliverer) is not None:
            with suppress(Exception):
                query = f"tags.`cdm.key` = '{key}' and attributes.status = 'FINISHED'"
                found = deliverer.client.search_runs([deliverer.experiment], query, max_results=1)
                made = found[0].info.run_id if found else "unknown"
                self.recorder.submit(op="tags", run=parent, values={f"skipped.{stage}": made})

    @contextmanager
    def stage(self, name: str, key: str | None, why: list[str], params: dict[str, Any]) -> Iterator[str]:
        """Around one stage's execution; gives our name of its run. What has no key in dvc.lock has None."""
        global _live
        parent, run = self.parent(), uuid.uuid4().hex
        tags = {**self.common, **self.owner, "cdm.stage": name, "cdm.why": "; ".join(why)[:4000]}
        if key is not None:
            tags["cdm.key"] = key
        self.recorder.submit(op="create", run=run, parent=parent, name=name, tags=tags)
        self.recorder.submit(op="params", run=run, values=dict(flatten(params)))
        _live, status = LiveRun(self.recorder, run, tags), "FAILED"
        try:
            yield run
            status = "FINISHED"
        except Exception as error:
            self.recorder.submit(op="tags", run=run, values={"cdm.error": repr(error)[:4000]})
            raise
        except BaseException:
            status = "KILLED"
            raise
        finally:
            _live = LiveRun()
            self.recorder.submit(op="end", run=run, status=status)
            if status != "FINISHED" or self._from_dvc:
                self.recorder.submit(op="end", run=parent, status=status)
            self.recorder.flush()

    def outputs(self, run: str, datasets: dict[str, Any], hashes: dict[str, str]) -> None:
        """Record what a stage made: small files as artifacts, metrics, hashes as tags, weights in the registry."""
        for name, dataset in datasets.items():
            path = Path(dataset._filepath)
            if path.suffix in (".png", ".csv", ".json", ".html") and path.stat().st_size < 20_000_000:
                self.recorder.submit(op="artifact", run=run, path=str(path.absolute()), folder=None)
            dvc = (getattr(dataset, "metadata", None) or {}).get("dvc") or {}
            if dvc.get("kind") == "metrics":
                numbers = {
                    k.replace(".", "/"): float(v)
                    for k, v in flatten(json.loads(path.read_text()))
                    if isinstance(v, (int, float)) and not isinstance(v, bool)
                }
                for start in range(0, len(numbers), 500):
                    some = dict(list(numbers.items())[start : start + 500])
                    self.recorder.submit(op="metrics", run=run, values=some, step=0)
            if name.endswith("_model"):
                card = path.with_suffix(".json")
                loss = json.loads(card.read_text()).get("final_loss") if card.exists() else None
                tags = {"file": str(path), **({"final_loss": str(loss)} if loss is not None else {})}
                self.recorder.submit(
                    op="model",
                    run=run,
                    name=f"{EXPERIMENT}-{name.removesuffix('_model')}",
                    source=path.absolute().as_uri(),
                    tags=tags,
                )
        if hashes:
            self.recorder.submit(op="tags", run=run, values={f"dvc.{path}": value for path, value in hashes.items()})

    def close(self, status: str) -> None:
        """End the parent run, if there is one."""
        if self._parent is not None and not self._from_dvc:
            self.recorder.submit(op="end", run=self._parent, status=status)
        self.recorder.flush()
