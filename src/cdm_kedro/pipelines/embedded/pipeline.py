"""Wiring of the embedded data set."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.pipelines.embedded.nodes import generate_embedded


def create_pipeline() -> Pipeline:
    """Parameters to a folder of images in ImageNet layout."""
    return Pipeline(
        [
            Node(
                generate_embedded,
                inputs={"params": "params:embedded"},
                outputs="embedded_images",
                name="generate_embedded",
                namespace="embedded",
                tags=["data"],
            )
        ]
    )
