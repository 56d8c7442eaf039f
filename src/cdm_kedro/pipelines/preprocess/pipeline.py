"""Wiring of preprocessing."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.preprocess.nodes import preprocess
from cdm_kedro.pipelines.wiring import real_images, same, stage


def create_pipeline(cascade: CascadeShape) -> Pipeline:
    """Image folder to FFCV files; it waits for the embedded data set where the images are that."""
    inputs = {"params": "params:preprocess", **same("images", *["embedded_images"] * cascade.embedded)}
    outputs = {**real_images(cascade.stored), **same("classes", "data_card")}
    return stage("preprocess", "preprocess_images", preprocess, inputs, outputs, "data")
