"""Kedro runners: one runs the stale stages and records them, one runs everything and records nothing in dvc.lock."""

import logging
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from cdm_kedro.errors import CdmError
from cdm_kedro.files.places import refuse_unwritable
from cdm_kedro.pipeline_registry import by_stage
from cdm_kedro.provenance.code import Code
from cdm_kedro.provenance.lineage import Lineage
from cdm_kedro.provenance.locks import only_process
from cdm_kedro.provenance.plan import stale_jobs
from cdm_kedro.provenance.staleness import StageRun, Staleness, stage_of_dvc
from cdm_kedro.tracking import durations, scratch
from cdm_kedro.tracking.live import live
from cdm_kedro.tracking.runs import Tracking

log = logging.getLogger(__name__)
OUTSIDE = {"cdm.outside_dag": "true"}  # tag of the MLflow runs of pipelines that are no stages


class EditedError(CdmError):
    """Code or parameters were edited between two stages of a run; the rest wants a process that has read them anew."""


@contextmanager
def _told(close: Callable[[str], object]) -> Iterator[None]:
    """Tell ``close`` how the block ended, in MLflow's words."""
    status = "KILLED"
    try:
        yield
        status = "FINISHED"
    except EditedError:
        status = "FINISHED"
        raise
    except Exception:
        status = "FAILED"
        raise
    finally:
        close(status)


class _TrackedRunner(SequentialRunner):
    @property
    def _logger(self) -> logging.Logger:  # Kedro's own remarks, at the level it is given in conf/logging.yml
        return logging.getLogger("kedro.runner")

    @staticmethod
    def _params(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, Any]:
        return {d.removeprefix("params:"): catalog.load(d) for d in pipeline.inputs() if d.startswith("params:")}


class OneOffRunner(_TrackedRunner):
    """Runs a pipeline as one MLflow run with a name, below a parent run with a title, and leaves dvc.lock alone."""

    def __init__(self, root: Path, env: str | None, name: str, title: str) -> None:
        super().__init__()
        self.root, self.env, self.name, self.title = root, env, name, title

    def _run(self, pipeline: Pipeline, catalog: CatalogProtocol, *hooks: Any) -> None:  # and the id of the run
        params = self._params(pipeline, catalog)
        work = scratch.process_dir(self.root)
        work.mkdir(parents=True, exist_ok=True)  # tells the next run, if this one is killed
        tracking = Tracking(self.root, self.title, self.env, OUTSIDE)
        with _told(tracking.close):
            try:
                with tracking.stage(self.name, None, ["asked for"], params) as run:
                    for stage, nodes in by_stage(pipeline):
                        os.environ[scratch.VARIABLE] = str(work / stage)
                        super()._run(Pipeline(nodes), catalog, *hooks)
                    tracking.outputs(run, {o: catalog.get(o) for o in sorted(pipeline.all_outputs())}, {})
            finally:
                os.environ.pop(scratch.VARIABLE, None)
                shutil.rmtree(work, ignore_errors=True)


class FreshRunner(_TrackedRunner):
    """Asks dvc.lock before each stage; with ``force`` it runs fresh stages too.

    A stage of which only some nodes are asked for is run but not recorded. ``effective``: parameters as this session
    loaded them. ``title``: name of the MLflow parent run.
    """

    def __init__(self, staleness: Staleness, effective: dict[str, Any], title: str, code: Code, force: bool) -> None:
        super().__init__()
        self.staleness, self.effective, self.title, self.code, self.force = staleness, effective, title, code, force
        self._skipped: dict[str, str] = {}  # fresh stages and their keys, not told to MLflow yet
        self._durations = durations.Durations(staleness.root, staleness.env)
        self._ahead: dict[str, float | None] = {}  # seconds that we know of each stage that is left to run

    def __repr__(self) -> str:  # kedro-viz recognizes a run by this text
        return f"<FreshRunner, a kedro.runner.sequential_runner.SequentialRunner object at {id(self):#x}>"

    @cached_property
    def tracking(self) -> Tracking:
        """MLflow, on first use."""
        return Tracking(self.staleness.root, self.title, self.staleness.env)

    def _run(self, pipeline: Pipeline, catalog: CatalogProtocol, *hooks: Any) -> None:  # and the id of the run
        started = time.monotonic()
        with _told(self._close):
            self.staleness.sweep()
            stages = by_stage(pipeline)
            if len(stages) > 1 and not stage_of_dvc():
                stale = [job.stage for job in stale_jobs(self.staleness, pipeline)]
                todo = [name for name, _ in stages if self.force or name in stale]
                refuse_unwritable(Path(out.fs_path) for name in todo for out in self.staleness.stage(name).outs)
                own = {name: catalog.load(f"params:{name}") for name in todo if f"params:{name}" in pipeline.inputs()}
                self._ahead = {name: self._durations.expected(name, own.get(name)) for name in todo}
            for name, nodes in stages:
                self._stage(name, nodes, catalog, *hooks)
                self._ahead.pop(name, None)
            log.info("done in %.0f s", time.monotonic() - started)

    def _stage(self, name: str, nodes: list[Node], catalog: CatalogProtocol, *hooks: Any) -> None:
        from kedro.framework.project import pipelines

        part = Pipeline(nodes)
        if name not in pipelines or len(nodes) < len(pipelines[name].nodes):
            log.warning(
                "%s: only some of its nodes were asked for; running them without recording, the stage stays stale", name
            )
            super()._run(part, catalog, *hooks)
            return
        self._refuse_edited(name, self.staleness.stage(name))  # before outputs are removed to make room for new ones
        run = self.staleness.begin(name, self.force)
        try:
            self._refuse_edited(name, run.stage)  # waiting may have taken long
            if run.state == "fresh":
                log.info("%s: fresh, skipped", name)
                self._skipped[name] = run.key
                if "tracking" in vars(self):
                    self._tell_skipped()
                return
            with only_process(run.work.parent.with_suffix(".lock"), f"the unfinished work of stage {name}"):
                if run.state == "restored":
                    log.info("%s: restored from DVC's run cache (%s)", name, "; ".join(run.why))
                    self.staleness.record(run)
                else:
                    did = "running, because" if run.state == "due" else "was finished and is recorded now, because"
                    log.info("%s: %s %s", name, did, "; ".join(run.why))
                    self._tell_skipped()
                    self._tell_rest()
                    self._execute(run, part, catalog, *hooks)
                if stage_of_dvc() is None:
                    shutil.rmtree(run.work.parent, ignore_errors=True)  # of other parameters too
        finally:
            self.staleness.end(run)

    def _tell_rest(self) -> None:
        """Say how long the present stage and those after it will take, for all we know."""
        unknown = [stage for stage, seconds in self._ahead.items() if seconds is None]
        seconds = sum(known or 0.0 for known in self._ahead.values())
        if seconds:
            log.info("about %s left%s", durations.readable(seconds), f", besides {unknown}" if unknown else "")

    def _close(self, status: str) -> None:
        if "tracking" in vars(self):
            self.tracking.close(status)

    def _tell_skipped(self) -> None:
        while self._skipped:
            self.tracking.skipped(*self._skipped.popitem())

    def _execute(self, run: StageRun, part: Pipeline, catalog: CatalogProtocol, *hooks: Any) -> None:
        params = self._params(part, catalog)
        os.environ[scratch.VARIABLE] = str(run.work.relative_to(self.staleness.root))
        try:
            with self.tracking.stage(run.name, run.key, run.why, params, self._images(part, catalog)) as tracked:
                later = [seconds for stage, seconds in self._ahead.items() if stage != run.name]
                live().after = 0.0 if None in later else sum(filter(None, later))
                if run.state == "due":
                    began, resumed = time.monotonic(), any(run.work.glob("*"))
                    super()._run(part, catalog, *hooks)
                    self.staleness.keep(run)
                    if not resumed:
                        self._durations.note(run.name, time.monotonic() - began, params.get(run.name))
                self.staleness.record(run)
                outputs = {o: catalog.get(o) for o in sorted(part.all_outputs())}
                self.tracking.outputs(tracked, outputs, run.hashes())
        finally:
            os.environ.pop(scratch.VARIABLE, None)

    def _images(self, part: Pipeline, catalog: CatalogProtocol) -> dict[str, str]:
        """FFCV files that the stage reads, or whose statistics it reads, with their hashes."""
        paths = [catalog[d]._filepath for d in part.inputs() if not d.startswith("params:")]
        names = Lineage(self.staleness.root).image_files(os.path.relpath(path, self.staleness.root) for path in paths)
        return self.staleness.file_hashes([Path(name) for name in names])

    def _refuse_edited(self, name: str, stage: Any) -> None:
        if stage_of_dvc():
            self.code.refuse_other(stage)
        elif self.code.edited():
            raise EditedError(f"code or parameters were edited before stage {name} began; run again")
        hidden = self.staleness.invisible(stage, self.effective)
        if hidden:
            lines = [f"  {key}: this run uses {value!r}, {file} says {seen!r}" for file, key, value, seen in hidden]
            options = " ".join(f"-S {shlex.quote(f'{file}:{key}={value}')}" for file, key, value, _ in hidden)
            raise CdmError(
                f"{name} would run with parameters that DVC does not see "
                "(--params or conf/local):\n" + "\n".join(lines) + f"\nEdit the file, or run: dvc exp run {options}"
            )
