"""Wiring of sampling: the whole cascade in one stage, and a picture for each size."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.sample.nodes import draw_grids, sample_cascade
from cdm_kedro.pipelines.wiring import same, stage


def create_pipeline(cascade: CascadeShape) -> Pipeline:
    """Models to labelled samples (ADM's npz) and PNG grids at every resolution."""
    samples = same(*(f"samples_{side}" for side in cascade.resolutions))
    models = same(*(f"{name}_model" for name in cascade.names), *cascade.sample_inputs)
    classes = "classes" if cascade.images else "class_names"
    grids = same(*(f"grid_{side}" for side in cascade.resolutions))
    return stage(
        "sample",
        "sample_cascade",
        sample_cascade,
        {"params": "params:sample", **models},
        {**samples, "card": "sample_card"},
        "sample",
    ) + stage(
        "sample",
        "draw_grids",
        draw_grids,
        {"classes": classes, "params": "params:sample", **samples},
        grids,
        "sample",
        "picture",
    )
