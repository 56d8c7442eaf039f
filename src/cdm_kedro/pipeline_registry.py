"""The pipelines that `kedro registry list` shows: ``cascade``, and one for each of its stages."""

from __future__ import annotations

import os
from pathlib import Path

from kedro.pipeline import Pipeline

from cdm_kedro.cascade_spec import read_cascade
from cdm_kedro.pipelines.embedded.pipeline import create_pipeline as embedded
from cdm_kedro.pipelines.evaluate.pipeline import create_pipeline as evaluate
from cdm_kedro.pipelines.preprocess.pipeline import create_pipeline as preprocess
from cdm_kedro.pipelines.reference.pipeline import create_pipeline as reference
from cdm_kedro.pipelines.report.pipeline import create_pipeline as report
from cdm_kedro.pipelines.sample.pipeline import create_pipeline as sample
from cdm_kedro.pipelines.train.pipeline import create_pipeline as train


def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines of the environment in KEDRO_ENV; the stages come from its ``cascade`` parameters."""
    root = Path(os.environ.get("CDM_PROJECT_ROOT", "."))
    spec = read_cascade(root / "conf", os.environ.get("KEDRO_ENV"))
    stages: dict[str, Pipeline] = {}
    if spec.embedded:
        stages["embedded"] = embedded()
    stages["preprocess"] = preprocess(spec.embedded)
    for stage in spec.stages:
        stages[stage.name] = train(stage)
    stages["sample"] = sample(spec)
    stages["reference"] = reference(spec)
    stages["evaluate"] = evaluate(spec)
    stages["report"] = report(spec)
    cascade = sum(stages.values(), Pipeline([]))
    return {"__default__": cascade, "cascade": cascade, **stages}
