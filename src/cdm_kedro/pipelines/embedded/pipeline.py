"""Wiring of the embedded data set."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.pipelines.embedded.nodes import generate_embedded
from cdm_kedro.pipelines.wiring import stage


def create_pipeline() -> Pipeline:
    """Parameters to a folder of images in ImageNet layout."""
    inputs = {"params": "params:embedded"}
    return stage("embedded", "generate_embedded", generate_embedded, inputs, "embedded_images", "data")
