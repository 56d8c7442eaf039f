"""The pipelines that `kedro registry list` shows: ``cascade``, one for each of its stages, and extra ones."""

from __future__ import annotations

import os
from pathlib import Path

from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from cdm_kedro.params.cascade import CascadeSpec, read_cascade
from cdm_kedro.pipelines.cas.pipeline import create_stages as cas
from cdm_kedro.pipelines.claim.pipeline import create_stages as claim
from cdm_kedro.pipelines.convert.pipeline import create_pipeline as convert
from cdm_kedro.pipelines.embedded.pipeline import create_pipeline as embedded
from cdm_kedro.pipelines.evaluate.pipeline import create_pipeline as evaluate
from cdm_kedro.pipelines.likelihood.pipeline import create_pipeline as likelihood
from cdm_kedro.pipelines.preprocess.pipeline import create_pipeline as preprocess
from cdm_kedro.pipelines.reference.pipeline import create_pipeline as reference
from cdm_kedro.pipelines.report.pipeline import create_pipeline as report
from cdm_kedro.pipelines.sample.pipeline import create_pipeline as sample
from cdm_kedro.pipelines.search.pipeline import create_pipelines as search
from cdm_kedro.pipelines.train.pipeline import create_pipeline as train


def extra_pipelines(spec: CascadeSpec) -> dict[str, dict[str, Pipeline]]:
    """Pipelines beside the cascade, by name, each as its stages by name; `kedro run` runs them when asked to."""
    if not spec.images:
        return {}
    extras = {"cas": cas(spec), "likelihood": {"likelihood": likelihood(spec)}, "claim": claim(spec)}
    extras |= {name: search(spec, name) for name, _ in spec.searches}
    return {name: stages for name, stages in extras.items() if stages}


def stage_homes() -> dict[str, str]:
    """Stage to the extra pipeline that it belongs to; stages of the cascade are not listed."""
    return {stage: name for name, stages in extra_pipelines(_spec()).items() for stage in stages}


def _spec() -> CascadeSpec:
    root = find_kedro_project(Path.cwd()) or Path()  # commands may be given in a folder below
    return read_cascade(root / "conf", os.environ.get("KEDRO_ENV"))


def _needed(pipeline: Pipeline, stages: dict[str, Pipeline]) -> Pipeline:
    """The stages of the cascade that a pipeline needs, directly or not: `dvc repro` brings those up to date too."""
    needed, wanted = Pipeline([]), pipeline.inputs()
    for stage in reversed(stages.values()):  # each one's inputs are made by those before it
        if wanted & stage.all_outputs():
            needed, wanted = stage + needed, wanted | stage.inputs()
    return needed


def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines of the environment in KEDRO_ENV; the stages come from its ``cascade`` parameters."""
    spec = _spec()
    stages: dict[str, Pipeline] = {}
    if spec.embedded:
        stages["embedded"] = embedded()
    if spec.images:
        stages["preprocess"] = preprocess(spec)
    for stage in spec.stages:
        stages[stage.name] = convert(stage) if stage.pretrained else train(stage)
    stages["sample"] = sample(spec)
    if spec.images:
        stages["reference"] = reference(spec)
        stages["evaluate"] = evaluate(spec)
        stages["report"] = report(spec)
    cascade = sum(stages.values(), Pipeline([]))
    extras: dict[str, Pipeline] = {}
    for name, parts in extra_pipelines(spec).items():
        whole = sum(parts.values(), Pipeline([]))
        extras |= {**parts, name: whole if name in parts else whole + _needed(whole, stages)}
    return {"__default__": cascade, "cascade": cascade, **stages, **extras}
