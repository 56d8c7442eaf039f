"""Wiring of evaluation."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.cascade_spec import CascadeSpec
from cdm_kedro.pipelines.evaluate.nodes import evaluate


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Samples and reference statistics to metrics."""
    samples = {f"samples_{res}": f"samples_{res}" for res in spec.resolutions}
    return Pipeline(
        [
            Node(
                evaluate,
                inputs={"reference": "reference", "params": "params:evaluate", **samples},
                outputs="metrics",
                name="evaluate_samples",
                namespace="evaluate",
                tags=["evaluate"],
            )
        ]
    )
