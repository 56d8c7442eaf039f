"""Wiring of training: one node a stage of the cascade."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import ModelSpec
from cdm_kedro.pipelines.train.nodes import make_train
from cdm_kedro.pipelines.train.selecting import make_selecting_train


def create_pipeline(stage: ModelSpec) -> Pipeline:
    """FFCV file to EMA weights, card and curve of one stage."""
    return Pipeline(
        [
            Node(
                make_selecting_train(stage.name) if stage.selects else make_train(stage.name),
                inputs={
                    "images": f"train_{stage.resolution}",
                    "classes": "classes",
                    "data_card": "data_card",
                    "params": f"params:{stage.name}",
                },
                outputs={
                    "model": f"{stage.name}_model",
                    "card": f"{stage.name}_card",
                    "curve": f"{stage.name}_curve",
                },
                name=f"train_{stage.name}",
                namespace=stage.name,
                tags=["train", "base" if stage.low is None else "super_resolution"],
            )
        ]
    )
