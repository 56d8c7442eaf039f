"""Wiring of conversion: one stage for each model whose weights are published."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import ModelShape
from cdm_kedro.pipelines.convert.nodes import make_convert
from cdm_kedro.pipelines.wiring import parts, stage


def create_pipeline(model: ModelShape) -> Pipeline:
    """Published file to weights and card of one model."""
    name, kind = model.name, "base" if model.low is None else "super_resolution"
    inputs = {**parts(name, "pretrained"), "params": f"params:{name}"}
    return stage(name, f"convert_{name}", make_convert(name), inputs, parts(name, "model", "card"), "convert", kind)
