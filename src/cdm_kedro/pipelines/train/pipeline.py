"""Wiring of training: one stage for each model that is trained."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import ModelShape
from cdm_kedro.pipelines.train.nodes import make_train
from cdm_kedro.pipelines.train.selecting import make_selecting_train
from cdm_kedro.pipelines.wiring import parts, same, stage


def create_pipeline(model: ModelShape) -> Pipeline:
    """FFCV file to EMA weights, card and curve of one model."""
    name, kind = model.name, "base" if model.low is None else "super_resolution"
    train = make_selecting_train(name) if model.selects else make_train(name)
    inputs = {"images": f"train_{model.resolution}", **same("classes", "data_card"), "params": f"params:{name}"}
    return stage(name, f"train_{name}", train, inputs, parts(name, "model", "card", "curve"), "train", kind)
