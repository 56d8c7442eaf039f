"""Wiring of conversion: one node a stage whose weights are published."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import ModelSpec
from cdm_kedro.pipelines.convert.nodes import make_convert


def create_pipeline(stage: ModelSpec) -> Pipeline:
    """Published file to weights and card of one stage."""
    return Pipeline(
        [
            Node(
                make_convert(stage.name),
                inputs={"pretrained": f"{stage.name}_pretrained", "params": f"params:{stage.name}"},
                outputs={"model": f"{stage.name}_model", "card": f"{stage.name}_card"},
                name=f"convert_{stage.name}",
                namespace=stage.name,
                tags=["convert", "base" if stage.low is None else "super_resolution"],
            )
        ]
    )
