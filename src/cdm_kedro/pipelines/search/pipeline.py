"""Wiring of the searches, beside the cascade: each is a stage that samples and scores, and one that draws."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from cdm_kedro.params.cascade import CascadeShape
from cdm_kedro.pipelines.search.figure_nodes import make_draw
from cdm_kedro.pipelines.search.nodes import search_schedule, search_steps, search_truncation
from cdm_kedro.pipelines.wiring import parts, real_images, same, stage

_NODES = {function.__name__: function for function in (search_truncation, search_steps, search_schedule)}


def create_pipelines(cascade: CascadeShape, name: str) -> dict[str, Pipeline]:
    """The stages of one search, by name: the search itself, and its figure."""
    chain = cascade.chain(cascade.searches[name])
    inputs = {"params": f"params:{name}", "evaluate": "params:evaluate", "reference": "reference"}
    inputs |= same(*(f"{model.name}_model" for model in chain))
    if name == "search_truncation":
        inputs |= real_images([chain[-2].resolution])
    scores, figure = f"{name}_scores", f"{name}_figure"
    found = parts(name, "table", "best")
    return {
        scores: stage(scores, f"run_{name}", _NODES[name], inputs, found, "search"),
        figure: stage(figure, f"draw_{name}", make_draw(name), found, figure, "search", "picture"),
    }
