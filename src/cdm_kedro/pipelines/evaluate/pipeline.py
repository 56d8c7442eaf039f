"""Wiring of evaluation."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.evaluate.nodes import evaluate
from cdm_kedro.pipelines.wiring import same, stage


def create_pipeline(cascade: CascadeShape) -> Pipeline:
    """Samples and reference statistics to metrics."""
    samples = (f"samples_{side}" for side in cascade.resolutions)
    inputs = {"params": "params:evaluate", **same("reference", "train_features", "classes", *samples)}
    return stage("evaluate", "evaluate_samples", evaluate, inputs, same("metrics", "single_images"), "evaluate")
