"""Wiring of the searches: each is one stage, beside the cascade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from cdm_kedro.cascade_spec import CascadeSpec
from cdm_kedro.pipelines.search.nodes import search_schedule, search_steps, search_truncation

_NODES: dict[str, Callable[..., Any]] = {
    "search_truncation": search_truncation,
    "search_steps": search_steps,
    "search_schedule": search_schedule,
}


def create_pipeline(spec: CascadeSpec, name: str) -> Pipeline:
    """One search: models and reference statistics to table, figure and best values."""
    chain = spec.chain(dict(spec.searches)[name])
    inputs = {f"{stage.name}_model": f"{stage.name}_model" for stage in chain}
    if name == "search_truncation":
        inputs |= {f"{split}_{chain[-2].resolution}": f"{split}_{chain[-2].resolution}" for split in ("train", "val")}
    return Pipeline(
        [
            Node(
                _NODES[name],
                inputs={"params": f"params:{name}", "evaluate": "params:evaluate", "reference": "reference", **inputs},
                outputs={part: f"{name}_{part}" for part in ("table", "figure", "best")},
                name=f"run_{name}",
                namespace=name,
                tags=["search"],
            )
        ]
    )
