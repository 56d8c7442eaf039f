"""A Kedro runner that runs the stale stages, skips the fresh ones, and records what it ran."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from cdm_kedro.provenance.stages import by_stage
from cdm_kedro.provenance.staleness import ProvenanceError, Staleness, stage_of_dvc
from cdm_kedro.tracking import scratch
from cdm_kedro.tracking.runs import Tracking

log = logging.getLogger(__name__)


class FreshRunner(SequentialRunner):
    """SequentialRunner that asks dvc.lock before each stage.

    Args:
        staleness: of the environment.
        effective: parameters as this session loaded them.
        whole: names of all nodes of each stage; a stage of which only some are asked for is run but not recorded.
        title: name of the MLflow parent run.
        force: run fresh stages too.
    """

    def __init__(
        self,
        staleness: Staleness,
        effective: dict[str, Any],
        whole: dict[str, set[str]],
        title: str,
        force: bool = False,
    ) -> None:
        super().__init__()
        self.staleness, self.effective, self.whole, self.title, self.force = staleness, effective, whole, title, force
        self._tracking: Tracking | None = None

    def __repr__(self) -> str:  # kedro-viz recognizes a run by this text
        return f"<FreshRunner, a kedro.runner.sequential_runner.SequentialRunner object at {id(self):#x}>"

    @property
    def _logger(self) -> logging.Logger:  # Kedro's own remarks, at the level it is given in conf/logging.yml
        return logging.getLogger("kedro.runner")

    @property
    def tracking(self) -> Tracking:
        """MLflow, on first use."""
        if self._tracking is None:
            self._tracking = Tracking(self.staleness.root, self.title, self.staleness.env)
        return self._tracking

    def _run(
        self, pipeline: Pipeline, catalog: CatalogProtocol, hook_manager: Any = None, run_id: str | None = None
    ) -> None:
        status, started = "FAILED", time.monotonic()
        skipped: dict[str, str] = {}
        try:
            for name, nodes in by_stage(pipeline):
                self._stage(name, nodes, catalog, hook_manager, run_id, skipped)
            status = "FINISHED"
            log.info("done in %.0f s", time.monotonic() - started)
        except Exception:
            raise
        except BaseException:
            status = "KILLED"
            raise
        finally:
            if self._tracking is not None:
                self._tracking.close(status)

    def _stage(
        self,
        name: str,
        nodes: list[Node],
        catalog: CatalogProtocol,
        hooks: Any,
        run_id: str | None,
        skipped: dict[str, str],
    ) -> None:
        part = Pipeline(nodes)
        if name == stage_of_dvc():  # `dvc repro` has decided, and records afterwards
            self._refuse_invisible(name)
            key = self.staleness.key(name)
            self._execute(name, part, key, ["dvc repro"], catalog, hooks, run_id)
            if self.staleness.key(name) != key:
                raise ProvenanceError(
                    f"inputs, parameters or code changed while stage {name} ran. "
                    "Its outputs are of the old version and are not recorded; run again."
                )
            return
        if name not in self.whole or {n.name for n in nodes} != self.whole[name]:
            log.warning(
                "%s: only some of its nodes were asked for; running them without recording, the stage stays stale", name
            )
            super()._run(part, catalog, hooks, run_id)
            return
        self._refuse_invisible(name)
        why = self.staleness.why_stale(name) if not self.force else ["it is forced"]
        if why == []:
            log.info("%s: fresh, skipped", name)
            skipped[name] = self.staleness.recorded_key(name)
            if self._tracking is not None:
                self._tracking.skipped(name, skipped.pop(name))
            return
        with self.staleness.running(name, restore=not self.force) as run:
            if run.restored:
                log.info("%s: restored from DVC's run cache (%s)", name, "; ".join(why))
            else:
                log.info("%s: running, because %s", name, "; ".join(why))
                for other in list(skipped):
                    self.tracking.skipped(other, skipped.pop(other))
                self._execute(name, part, run.key, why, catalog, hooks, run_id)

    def _execute(
        self,
        name: str,
        part: Pipeline,
        key: str,
        why: list[str],
        catalog: CatalogProtocol,
        hooks: Any,
        run_id: str | None,
    ) -> None:
        params = {d.removeprefix("params:"): catalog.load(d) for d in part.inputs() if d.startswith("params:")}
        work = self.staleness.root / ".scratch" / (self.staleness.env or "base") / name / key[:16]
        os.environ[scratch.VARIABLE] = str(work.relative_to(self.staleness.root))
        try:
            with self.tracking.stage(name, key, why, params) as run:
                super()._run(part, catalog, hooks, run_id)
                self._refuse_edited(name)
                self.tracking.outputs(
                    run, {o: catalog.get(o) for o in sorted(part.all_outputs())}, self._hashes(part, catalog)
                )
        finally:
            os.environ.pop(scratch.VARIABLE, None)
        shutil.rmtree(work, ignore_errors=True)  # outputs are saved

    def _hashes(self, part: Pipeline, catalog: CatalogProtocol) -> dict[str, str]:
        paths = [
            Path(os.path.relpath(catalog[d]._filepath, self.staleness.root))
            for d in sorted(part.datasets())
            if not d.startswith("params:")
        ]
        return self.staleness.file_hashes(paths)

    def _refuse_edited(self, name: str) -> None:
        edited = self.staleness.invisible(name, self.effective)
        if edited:
            changes = ", ".join(f"{key} {value} → {seen} in {file}" for file, key, value, seen in edited)
            raise ProvenanceError(
                f"changed while stage {name} ran: {changes}. "
                "Its outputs are of the old version and are not recorded; run again."
            )

    def _refuse_invisible(self, name: str) -> None:
        hidden = self.staleness.invisible(name, self.effective)
        if hidden:
            lines = [f"  {key}: this run uses {value!r}, {file} says {seen!r}" for file, key, value, seen in hidden]
            options = " ".join(f"-S {file}:{key}={value}" for file, key, value, _ in hidden)
            raise ProvenanceError(
                f"{name} would run with parameters that DVC does not see "
                "(--params or conf/local):\n" + "\n".join(lines) + f"\nEdit the file, or run: dvc exp run {options}"
            )
