"""Wiring of the reference statistics: computed once per data set and extractor."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.reference.nodes import make_reference


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Real images at every resolution to feature statistics."""
    betons = {f"{split}_{res}": f"{split}_{res}" for split in ("train", "val") for res in spec.resolutions}
    return Pipeline(
        [
            Node(
                make_reference,
                inputs={"params": "params:evaluate", **betons},
                outputs={"reference": "reference", "train_features": "train_features"},
                name="make_reference",
                namespace="reference",
                tags=["evaluate"],
            )
        ]
    )
