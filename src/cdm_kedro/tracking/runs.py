"""One MLflow run for every stage that runs, below one parent run for every `kedro run` or `dvc repro`."""

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cdm_kedro.tracking.git import git
from cdm_kedro.tracking.live import LiveRun, enter, flatten
from cdm_kedro.tracking.recorder import Recorder, SystemMetrics
from cdm_kedro.tracking.registry import EXPERIMENT

PARENT = "MLFLOW_RUN_ID"
"""Environment variable with the id of the parent run, where a scheduler made one for the stages that it starts."""
PARENT_FILE = Path(".dvc/tmp/cdm_parent.json")
"""Which parent run belongs to the `dvc repro` in progress; each of its stages is a process of its own."""
_REPORTS, _LARGEST_REPORT = (".png", ".csv", ".json", ".html"), 20_000_000  # suffixes; bytes


def dvc_above() -> dict[str, Any] | None:
    """The `dvc` process that this one runs below: its number, when it began, and its command line."""
    import psutil

    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            command = process.cmdline()
            if any(Path(word).name == "dvc" for word in command[:2]) or command[1:3] == ["-m", "dvc"]:
                return {"pid": process.pid, "created": process.create_time(), "cmd": " ".join(command[1:])}
    return None


class Tracking:
    """The runs of one `kedro run`."""

    def __init__(self, root: Path, title: str, env: str | None, tags: Mapping[str, str] | None = None) -> None:
        self.root, self.title = root, title
        self.recorder = Recorder(root)
        commit = git(root, "rev-parse", "HEAD")
        self.owner = {"cdm.host": socket.gethostname(), "cdm.pid": str(os.getpid())}
        self.common = {
            "git.commit": commit,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "mlflow.source.git.commit": commit,
            "git.dirty": str(bool(git(root, "status", "--porcelain", "--untracked-files=no"))),
            "cdm.env": env or "base",
            **{name.lower(): os.environ[name] for name in ("DVC_EXP_NAME",) if name in os.environ},
            **(tags or {}),
        }
        self._parent: str | None = None
        self._from_dvc = False
        self._given = False

    def parent(self) -> str:
        """Our name of the parent run, which is created on first use; the stages of one `dvc repro` share theirs.

        Where the environment names one (``PARENT``), it is that one, and whoever made it ends it.
        """
        if self._parent is None and PARENT in os.environ:
            self._parent, self._given = os.environ[PARENT], True
        if self._parent is None:
            dvc = dvc_above() if "DVC_STAGE" in os.environ else None
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
    def stage(
        self,
        name: str,
        key: str | None,
        why: list[str],
        params: dict[str, Any],
        data: Mapping[str, str] | None = None,
    ) -> Iterator[str]:
        """Around a stage's execution; gives our name of its run.

        ``key``: hash of everything that the stage depends on, or None for a run that dvc.lock does not record.
        ``data``: FFCV files that the stage reads, or whose statistics it reads, with DVC's hashes.
        """
        parent, run = self.parent(), uuid.uuid4().hex
        tags = {**self.common, **self.owner, "cdm.stage": name, "cdm.why": "; ".join(why)[:4000]}
        if key is not None:
            tags["cdm.key"] = key
        self.recorder.submit(op="create", run=run, parent=parent, name=name, tags=tags)
        self.recorder.submit(op="params", run=run, values=dict(flatten(params)))
        if data:
            self.recorder.submit(op="datasets", run=run, values=dict(_described(data)))
        status, system = "FAILED", SystemMetrics(self.recorder, run)
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
            system.stop()
            self.recorder.submit(op="end", run=run, status=status)
            if not self._given and (status != "FINISHED" or self._from_dvc):
                self.recorder.submit(op="end", run=parent, status=status)
            self.recorder.flush()

    def outputs(self, run: str, datasets: dict[str, Any], hashes: dict[str, str]) -> None:
        """Record what a stage made: reports as artifacts, metrics, weights in the model registry, hashes as tags."""
        stage = LiveRun(self.recorder, run)
        for name, dataset in datasets.items():
            path = Path(dataset._filepath)
            if path.suffix in _REPORTS and path.stat().st_size < _LARGEST_REPORT:
                stage.log_artifact(path)
            dvc = (getattr(dataset, "metadata", None) or {}).get("dvc") or {}
            if dvc.get("kind") == "metrics":
                said = flatten(json.loads(path.read_text(encoding="utf-8")))
                values = {key.replace(".", "/"): value for key, value in said if not isinstance(value, bool)}
                stage.log_metrics(values, step=0)
            inside = os.path.relpath(path, self.root)
            if name.endswith("_model") and inside in hashes:
                self._register(run, name.removesuffix("_model"), path, {"file": inside}, hashes[inside])
        if hashes:
            self.recorder.submit(op="tags", run=run, values={f"dvc.{path}": value for path, value in hashes.items()})

    def _register(self, run: str, model: str, weights: Path, tags: dict[str, str], md5: str) -> None:
        """Register a network; it competes for nothing, and is a champion where the champion cascade consists of it."""
        card = weights.with_suffix(".json")
        loss = json.loads(card.read_text(encoding="utf-8")).get("final_loss") if card.exists() else None
        self.recorder.submit(
            op="model",
            run=run,
            name=f"{EXPERIMENT}-{model}",
            type="network",
            content=md5,
            folder=None,
            files={weights.name: str(weights.absolute())},
            tags=tags if loss is None else {**tags, "final_loss": str(loss)},
            description=f"The network {model} of a cascade, as safetensors with its parameters in the metadata.",
            metrics={},
            score=None,
        )

    def close(self, status: str) -> None:
        """End the parent run, if there is one; under `dvc repro` it stays as the last stage left it."""
        if self._parent is not None and not self._from_dvc and not self._given:
            self.recorder.submit(op="end", run=self._parent, status=status)
        self.recorder.flush()


def _described(data: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and description of FFCV files, with what the card of preprocessing beside them says."""
    for name, digest in data.items():
        path = Path(name)
        card = path.with_name("data_card.json")
        said = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
        images = said.get("betons", {}).get(path.stem, {})
        profile = {"num_images": images.get("num_samples"), "classes": said.get("classes")}
        context = "training" if path.stem.startswith("train") else "validation"
        yield path.stem, {"digest": digest, "source": name, "profile": profile, "context": context}
