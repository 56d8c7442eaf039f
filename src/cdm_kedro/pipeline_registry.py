"""The pipelines that `kedro registry list` shows: ``cascade``, one for each of its stages, and extra ones."""

from __future__ import annotations

import os
from pathlib import Path

from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from cdm_kedro.params.cascade import CascadeShape, read_cascade
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

loaded: tuple[Path, str | None] | None = None
"""Folder and environment of the configuration that a session has loaded; ``settings`` sets it."""


def configuration() -> tuple[Path, str | None]:
    """Folder and environment of the configuration that the pipelines are built from.

    Before a session has loaded one, it is that of the project around the working directory, and of KEDRO_ENV.
    """
    return loaded or ((find_kedro_project(Path.cwd()) or Path()) / "conf", os.environ.get("KEDRO_ENV"))


def extra_pipelines(cascade: CascadeShape) -> dict[str, dict[str, Pipeline]]:
    """Pipelines beside the cascade, by name, each as its stages by name; `kedro run` runs them when asked to."""
    if not cascade.images:
        return {}
    extras = {"cas": cas(cascade), "likelihood": {"likelihood": likelihood(cascade)}, "claim": claim(cascade)}
    extras |= {name: search(cascade, name) for name in cascade.searches}
    return {name: stages for name, stages in extras.items() if stages}


def extra_of_stages() -> dict[str, str]:
    """Stage to the extra pipeline that it belongs to; stages of the cascade are not listed."""
    extras = extra_pipelines(read_cascade(*configuration()))
    return {stage: name for name, stages in extras.items() for stage in stages}


def _needed(pipeline: Pipeline, stages: dict[str, Pipeline]) -> Pipeline:
    """The stages of the cascade that a pipeline needs, directly or not: `dvc repro` brings those up to date too."""
    needed, wanted = Pipeline([]), pipeline.inputs()
    for stage in reversed(stages.values()):  # each one's inputs are made by those before it
        if wanted & stage.all_outputs():
            needed, wanted = stage + needed, wanted | stage.inputs()
    return needed


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines of the present configuration; its parameters say which stages there are."""
    cascade = read_cascade(*configuration())
    stages: dict[str, Pipeline] = {}
    if cascade.embedded:
        stages["embedded"] = embedded()
    if cascade.images:
        stages["preprocess"] = preprocess(cascade)
    for model in cascade.models:
        stages[model.name] = convert(model) if model.pretrained else train(model)
    stages["sample"] = sample(cascade)
    if cascade.images:
        stages |= {"reference": reference(cascade), "evaluate": evaluate(cascade), "report": report(cascade)}
    whole = sum(stages.values(), Pipeline([]))
    extras: dict[str, Pipeline] = {}
    for name, parts in extra_pipelines(cascade).items():
        extra = sum(parts.values(), Pipeline([]))
        extras |= {**parts, name: extra if name in parts else extra + _needed(extra, stages)}
    return {"__default__": whole, "cascade": whole, **stages, **extras}
