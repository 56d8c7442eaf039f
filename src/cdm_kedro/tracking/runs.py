"""One MLflow run for each executed stage, under one parent for each invocation. mlflow is imported here only, lazily.

Everything is an operation on a queue that a thread empties, so a slow server never slows training; what cannot be
delivered goes to a journal that `kedro replay-runs` delivers later.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cdm_kedro.tracking.delivery import EXPERIMENT
from cdm_kedro.tracking.git import git
from cdm_kedro.tracking.live import LiveRun, enter, flatten
from cdm_kedro.tracking.recorder import Recorder

log = logging.getLogger(__name__)

PARENT_FILE = Path(".dvc/tmp/cdm_parent.json")


def _dvc_ancestor() -> dict[str, Any] | None:
    import psutil

    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            command = process.cmdline()
            if any(Path(word).name == "dvc" for word in command[:2]) or command[1:3] == ["-m", "dvc"]:
                return {"pid": process.pid, "created": process.create_time(), "cmd": " ".join(command[1:])}
    return None


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
            "git.commit": git(root, "rev-parse", "HEAD"),
            "git.dirty": str(bool(git(root, "status", "--porcelain", "--untracked-files=no"))),
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
        parent, run = self.parent(), uuid.uuid4().hex
        tags = {**self.common, **self.owner, "cdm.stage": name, "cdm.why": "; ".join(why)[:4000]}
        if key is not None:
            tags["cdm.key"] = key
        self.recorder.submit(op="create", run=run, parent=parent, name=name, tags=tags)
        self.recorder.submit(op="params", run=run, values=dict(flatten(params)))
        status = "FAILED"
        enter(LiveRun(self.recorder, run, tags))
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
            enter(LiveRun())
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
