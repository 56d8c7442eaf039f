"""Wiring of the likelihood bound."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.likelihood.nodes import likelihood
from cdm_kedro.pipelines.wiring import real_images, same, stage


def create_pipeline(cascade: CascadeShape) -> Pipeline:
    """Models and real images to bits per dimension."""
    files = {**same(*(f"{name}_model" for name in cascade.names)), **real_images(cascade.resolutions)}
    inputs = {"params": "params:likelihood", "stages": "params:sample.stages", **files}
    return stage("likelihood", "bound_likelihood", likelihood, inputs, "likelihood", "evaluate")
