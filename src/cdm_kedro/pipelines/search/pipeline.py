"""Wiring of the searches, beside the cascade: each is a stage that samples and scores, and one that draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.cascade import CascadeSpec
from cdm_kedro.pipelines.search.figure_nodes import make_draw
from cdm_kedro.pipelines.search.nodes import search_schedule, search_steps, search_truncation

_NODES: dict[str, Callable[..., Any]] = {
    "search_truncation": search_truncation,
    "search_steps": search_steps,
    "search_schedule": search_schedule,
}


def create_pipelines(spec: CascadeSpec, name: str) -> dict[str, Pipeline]:
    """The stages of one search, by name: the search itself, and its figure."""
    chain = spec.chain(dict(spec.searches)[name])
    inputs = {f"{stage.name}_model": f"{stage.name}_model" for stage in chain}
    if name == "search_truncation":
        inputs |= {f"{split}_{chain[-2].resolution}": f"{split}_{chain[-2].resolution}" for split in ("train", "val")}
    search = Node(
        _NODES[name],
        inputs={"params": f"params:{name}", "evaluate": "params:evaluate", "reference": "reference", **inputs},
        outputs={part: f"{name}_{part}" for part in ("table", "best")},
        name=f"run_{name}",
        namespace=f"{name}_scores",
        tags=["search"],
    )
    figure = Node(
        make_draw(name),
        inputs={"table": f"{name}_table", "best": f"{name}_best"},
        outputs=f"{name}_figure",
        name=f"draw_{name}",
        namespace=f"{name}_figure",
        tags=["search", "picture"],
    )
    return {f"{name}_scores": Pipeline([search]), f"{name}_figure": Pipeline([figure])}
