"""Splits a pipeline into its stages. A stage is what DVC records and MLflow tracks as one unit."""

from __future__ import annotations

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node


def by_stage(pipeline: Pipeline) -> list[tuple[str, list[Node]]]:
    """Group nodes by their top namespace: dependencies come first, independent stages in the registry's order."""
    from kedro.framework.project import pipelines

    rank = {name: i for i, name in enumerate(pipelines)}
    groups: dict[str, list[Node]] = {}
    for node in pipeline.nodes:  # topologically sorted
        groups.setdefault((node.namespace or node.name).split(".")[0], []).append(node)
    makes = {name: {o for n in nodes for o in n.outputs} for name, nodes in groups.items()}
    takes = {name: {i for n in nodes for i in n.inputs} for name, nodes in groups.items()}
    ordered: list[str] = []
    while len(ordered) < len(groups):
        waiting = sorted((g for g in groups if g not in ordered), key=lambda g: rank.get(g, len(rank)))
        ready = next(g for g in waiting if not any(takes[g] & makes[other] for other in waiting if other != g))
        ordered.append(ready)
    return [(name, groups[name]) for name in ordered]
