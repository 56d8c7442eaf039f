"""Wiring of evaluation."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.evaluate.nodes import evaluate


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Samples and reference statistics to metrics."""
    samples = {f"samples_{res}": f"samples_{res}" for res in spec.resolutions}
    inputs = {name: name for name in ("reference", "train_features", "classes")}
    return Pipeline(
        [
            Node(
                evaluate,
                inputs={**inputs, "params": "params:evaluate", **samples},
                outputs={"metrics": "metrics", "single_images": "single_images"},
                name="evaluate_samples",
                namespace="evaluate",
                tags=["evaluate"],
            )
        ]
    )
