"""Wiring of sampling: the whole cascade in one stage, then a picture a resolution."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.sample.nodes import draw_grids, sample_cascade


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Trained models to labelled samples (ADM's npz) and PNG grids at every resolution."""
    models = {f"{s.name}_model": f"{s.name}_model" for s in spec.stages}
    others = {name: name for name in spec.sample_inputs}
    samples = {f"samples_{res}": f"samples_{res}" for res in spec.resolutions}
    return Pipeline(
        [
            Node(
                sample_cascade,
                inputs={"params": "params:sample", **models, **others},
                outputs={**samples, "card": "sample_card"},
                name="sample_cascade",
                namespace="sample",
                tags=["sample"],
            ),
            Node(
                draw_grids,
                inputs={"classes": "classes" if spec.images else "class_names", "params": "params:sample", **samples},
                outputs={f"grid_{res}": f"grid_{res}" for res in spec.resolutions},
                name="draw_grids",
                namespace="sample",
                tags=["sample", "picture"],
            ),
        ]
    )
