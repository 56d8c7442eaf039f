"""Wiring of evaluation."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.cascade_spec import CascadeSpec
from cdm_kedro.pipelines.evaluate.nodes import draw_single_images, evaluate


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Samples and reference statistics to metrics and pictures."""
    samples = {f"samples_{res}": f"samples_{res}" for res in spec.resolutions}
    largest = spec.resolutions[-1]
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
            ),
            Node(
                draw_single_images,
                inputs={
                    "single_images": "single_images",
                    "samples": f"samples_{largest}",
                    "train": f"train_{largest}",
                    "metrics": "metrics",
                },
                outputs={"neighbours": "neighbours", "best_worst": "best_worst"},
                name="draw_single_images",
                namespace="evaluate",
                tags=["evaluate", "picture"],
            ),
        ]
    )
