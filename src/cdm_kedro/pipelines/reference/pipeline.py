"""Wiring of the reference statistics: computed once for each data set and extractor."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.reference.nodes import make_reference
from cdm_kedro.pipelines.wiring import real_images, same, stage


def create_pipeline(cascade: CascadeShape) -> Pipeline:
    """Real images at every resolution to feature statistics."""
    inputs = {"params": "params:evaluate", **real_images(cascade.resolutions)}
    outputs = same("reference", "train_features")
    return stage("reference", "make_reference", make_reference, inputs, outputs, "evaluate")
