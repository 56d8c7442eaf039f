"""One MLflow run for every stage that runs, below one parent run for every `kedro run` or `dvc repro`."""

from __future__ import annotations

import json
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

PARENT_FILE = Path(".dvc/tmp/cdm_parent.json")
"""Which parent run belongs to the `dvc repro` in progress; each of its stages is a process of its own."""
_REPORTS, _LARGEST_REPORT = (".png", ".csv", ".json", ".html"), 20_000_000  # suffixes; bytes


def _dvc_ancestor() -> dict[str, Any] | None:
    """The `dvc` process that this one runs below: its number, when it began, and its command line."""
    import psutil

    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            command = process.cmdline()
            if any(Path(word).name == "dvc" for word in command[:2]) or command[1:3] == ["-m", "dvc"]:
                return {"pid": process.pid, "created": process.create_time(), "cmd": " ".join(command[1:])}
    return None


class Tracking:
    """The runs of one `kedro run`.

    Args:
        root: project folder.
        title: name of the parent run.
        env: Kedro environment, which every run has as a tag.
        tags: further tags of every run.
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
        """Our name of the parent run, which is created on first use; the stages of one `dvc repro` share theirs."""
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
        """Note in the parent run which earlier run made the outputs of a stage that is skipped."""
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
        """Around a stage's execution; gives our name of its run.

        Args:
            name: of the stage.
            key: hash of everything that the stage depends on, or None for a run that dvc.lock does not record.
            why: reasons for the stage to run.
            params: the stage's parameters by their top-level key.
        """
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
        """Record what a stage made: reports as artifacts, metrics, weights in the model registry, hashes as tags.

        Args:
            run: our name of the stage's run.
            datasets: the stage's outputs by name.
            hashes: DVC's hash of every input and output, by path.
        """
        for name, dataset in datasets.items():
            path = Path(dataset._filepath)
            if path.suffix in _REPORTS and path.stat().st_size < _LARGEST_REPORT:
                self.recorder.submit(op="artifact", run=run, path=str(path.absolute()), folder=None)
            dvc = (getattr(dataset, "metadata", None) or {}).get("dvc") or {}
            if dvc.get("kind") == "metrics":
                numbers = {
                    key.replace(".", "/"): float(value)
                    for key, value in flatten(json.loads(path.read_text(encoding="utf-8")))
                    if isinstance(value, (int, float)) and not isinstance(value, bool)
                }
                self.recorder.submit(op="metrics", run=run, values=numbers, step=0)
            if name.endswith("_model"):
                self._register(run, name.removesuffix("_model"), path)
        if hashes:
            self.recorder.submit(op="tags", run=run, values={f"dvc.{path}": value for path, value in hashes.items()})

    def _register(self, run: str, model: str, weights: Path) -> None:
        card = weights.with_suffix(".json")
        loss = json.loads(card.read_text(encoding="utf-8")).get("final_loss") if card.exists() else None
        tags = {"file": str(weights), **({"final_loss": str(loss)} if loss is not None else {})}
        name, source = f"{EXPERIMENT}-{model}", weights.absolute().as_uri()
        self.recorder.submit(op="model", run=run, name=name, source=source, tags=tags)

    def close(self, status: str) -> None:
        """End the parent run, if there is one; under `dvc repro` it stays as the last stage left it."""
        if self._parent is not None and not self._from_dvc:
            self.recorder.submit(op="end", run=self._parent, status=status)
        self.recorder.flush()
