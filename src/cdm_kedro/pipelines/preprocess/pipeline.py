"""Wiring of preprocessing."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.preprocess.nodes import preprocess


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Image folder to FFCV files; after the embedded data set where that is generated."""
    betons = {f"{split}_{res}": f"{split}_{res}" for split in ("train", "val") for res in spec.stored}
    inputs = {"images": "images", "params": "params:preprocess"}
    if spec.embedded:
        inputs["embedded_images"] = "embedded_images"
    return Pipeline(
        [
            Node(
                preprocess,
                inputs=inputs,
                outputs={**betons, "classes": "classes", "data_card": "data_card"},
                name="preprocess_images",
                namespace="preprocess",
                tags=["data"],
            )
        ]
    )
