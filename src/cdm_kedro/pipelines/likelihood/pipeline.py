"""Wiring of the likelihood bound."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.likelihood.nodes import likelihood


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Models and real images to bits per dimension."""
    files = [f"{s.name}_model" for s in spec.stages]
    files += [f"{split}_{res}" for split in ("train", "val") for res in spec.resolutions]
    return Pipeline(
        [
            Node(
                likelihood,
                inputs={"params": "params:likelihood", "stages": "params:sample.stages", **{f: f for f in files}},
                outputs="likelihood",
                name="bound_likelihood",
                namespace="likelihood",
                tags=["evaluate"],
            )
        ]
    )
