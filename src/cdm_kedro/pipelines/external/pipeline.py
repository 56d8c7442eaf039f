"""Wiring of the pipelines for files outside the project, which `--params=external…` asks for."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from cdm_kedro.pipelines.external.nodes import make_external_statistics, score_external

_INPUTS = {"params": "params:evaluate", "external": "params:external"}


def create_pipelines() -> dict[str, Pipeline]:
    """Pipelines of one node each, by name; they are no stages, so dvc.yaml does not have them."""
    return {
        name: Pipeline([Node(function, inputs=_INPUTS, outputs=output, name=name)])
        for name, function, output in (
            ("evaluate_external", score_external, "external_scores"),
            ("reference_external", make_external_statistics, "external_statistics"),
        )
    }
