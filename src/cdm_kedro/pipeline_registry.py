"""The pipelines that `kedro registry list` shows: ``cascade``, one for each of its stages, and extra ones."""

import os
from pathlib import Path

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.utils import find_kedro_project

from cdm_kedro.params.cascade import read_cascade
from cdm_kedro.pipelines.cascade import cascade_stages
from cdm_kedro.pipelines.extras import FIGURES, extra_stages

loaded: tuple[Path, str | None] | None = None
"""Folder and environment of the configuration that a session has loaded; ``settings`` sets it."""


def configuration() -> tuple[Path, str | None]:
    """Folder and environment of the configuration that the pipelines are built from.

    Before a session has loaded one, it is that of the project around the working directory, and of KEDRO_ENV.
    """
    return loaded or ((find_kedro_project(Path.cwd()) or Path()) / "conf", os.environ.get("KEDRO_ENV"))


def extra_of_stages() -> dict[str, str]:
    """Stage to the extra pipeline that it belongs to; stages of the cascade are not listed."""
    extras = extra_stages(read_cascade(*configuration()))
    return {stage: name for name, stages in extras.items() for stage in stages}


def by_stage(pipeline: Pipeline) -> list[tuple[str, list[Node]]]:
    """The stages of a pipeline and their nodes: dependencies first, independent stages in the registry's order."""
    from kedro.framework.project import pipelines

    rank = {name: i for i, name in enumerate(pipelines)}
    nodes = {node.name: node for node in pipeline.nodes}
    left = {group.name: group for group in pipeline.group_nodes_by("namespace")}
    ordered = []
    while left:
        ready = [name for name, group in left.items() if not left.keys() & set(group.dependencies)]
        name = min(ready, key=lambda name: rank.get(name, len(rank)))
        ordered.append((name, [nodes[node] for node in left.pop(name).nodes]))
    return ordered


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines of the present configuration; its parameters say which stages there are."""
    cascade = read_cascade(*configuration())
    stages = cascade_stages(cascade)
    whole = sum(stages.values(), Pipeline([]))
    beside = extra_stages(cascade)
    every = sum((part for parts in beside.values() for part in parts.values()), whole)
    extras: dict[str, Pipeline] = {}
    for name, parts in beside.items():
        extra = sum(parts.values(), Pipeline([]))
        needed = every.to_outputs(*extra.inputs() & every.all_outputs())  # as `dvc repro` brings up to date too
        extras |= {**parts, name: extra if name in parts else extra + needed}
    figures = {figure: extras[name] for figure, name in FIGURES.items() if name in extras}
    return {"__default__": whole, "cascade": whole, **stages, **extras, **figures}
