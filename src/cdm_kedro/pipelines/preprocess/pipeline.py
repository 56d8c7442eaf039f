"""Wiring of preprocessing."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.data import RESOLUTIONS
from cdm_kedro.pipelines.preprocess.nodes import preprocess


def create_pipeline(embedded: bool) -> Pipeline:
    """Image folder to FFCV files.

    Args:
        embedded: whether the embedded data set is generated first; it orders the DAG.
    """
    betons = {f"{split}_{res}": f"{split}_{res}" for split in ("train", "val") for res in RESOLUTIONS}
    inputs = {"images": "images", "params": "params:preprocess"}
    if embedded:
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
