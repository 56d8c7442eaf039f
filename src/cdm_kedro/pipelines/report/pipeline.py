"""Wiring of the report."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.cascade_spec import CascadeSpec
from cdm_kedro.pipelines.report.nodes import report


def create_pipeline(spec: CascadeSpec) -> Pipeline:
    """Everything worth looking at, on one HTML page."""
    inputs = {"metrics": "metrics", "data_card": "data_card", "params": "params:report"}
    for stage in spec.stages:
        parts = ("card",) if stage.pretrained else ("card", "curve")
        inputs |= {f"{stage.name}_{part}": f"{stage.name}_{part}" for part in parts}
    inputs |= {f"grid_{res}": f"grid_{res}" for res in spec.resolutions}
    return Pipeline(
        [Node(report, inputs=inputs, outputs="report", name="write_report", namespace="report", tags=["report"])]
    )
