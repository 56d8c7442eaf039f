"""Runs a pipeline that is no stage: MLflow tracks it, dvc.lock does not know it."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from cdm_kedro.tracking import scratch
from cdm_kedro.tracking.runs import Tracking

OUTSIDE = {"cdm.outside_dag": "true"}
"""Tag of the MLflow runs of such a pipeline."""


class OneOffRunner(SequentialRunner):
    """SequentialRunner that runs everything as one MLflow run and leaves dvc.lock alone.

    Args:
        root: project folder.
        env: environment.
        name: name of the run.
        title: name of its parent run.
    """

    def __init__(self, root: Path, env: str | None, name: str, title: str) -> None:
        super().__init__()
        self.root, self.env, self.name, self.title = root, env, name, title

    @property
    def _logger(self) -> logging.Logger:  # Kedro's own remarks, at the level it is given in conf/logging.yml
        return logging.getLogger("kedro.runner")

    def _run(
        self, pipeline: Pipeline, catalog: CatalogProtocol, hook_manager: Any = None, run_id: str | None = None
    ) -> None:
        params = {d.removeprefix("params:"): catalog.load(d) for d in pipeline.inputs() if d.startswith("params:")}
        work = self.root / ".scratch" / (self.env or "base") / self.name / uuid.uuid4().hex
        tracking, status = Tracking(self.root, self.title, self.env, OUTSIDE), "FAILED"
        os.environ[scratch.VARIABLE] = str(work)
        try:
            with tracking.stage(self.name, None, ["asked for"], params) as run:
                super()._run(pipeline, catalog, hook_manager, run_id)
                tracking.outputs(run, {o: catalog.get(o) for o in sorted(pipeline.all_outputs())}, {})
            status = "FINISHED"
        except Exception:
            raise
        except BaseException:
            status = "KILLED"
            raise
        finally:
            os.environ.pop(scratch.VARIABLE, None)
            shutil.rmtree(work, ignore_errors=True)
            tracking.close(status)
