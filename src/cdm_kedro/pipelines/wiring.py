"""Shorthand for wiring: stages that grow node by node, and datasets whose names follow a pattern."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, Pipeline

CAS_PICTURES = ("comparison", "best", "worst")  # what the pipeline `cas` draws at each of its sizes


class Stages(dict[str, Pipeline]):
    """Stages by name, each after those whose results it takes."""

    def add(
        self, stage: str, node: str, function: Callable[..., Any], inputs: dict[str, str], outputs: Any, *tags: str
    ) -> None:
        """Add a node to a stage, which is new unless it has nodes already."""
        made = Pipeline([Node(function, inputs, outputs, name=node, namespace=stage, tags=tags)])
        self[stage] = self.get(stage, Pipeline([])) + made


def same(*names: str) -> dict[str, str]:
    """Datasets whose arguments are called like them."""
    return dict(zip(names, names, strict=True))


def parts(name: str, *keys: str) -> dict[str, str]:
    """Datasets ``<name>_<key>`` by key."""
    return {key: f"{name}_{key}" for key in keys}


def real_images(*resolutions: int) -> dict[str, str]:
    """The FFCV files of real images of some sizes: ``train_<resolution>`` and ``val_<resolution>``."""
    return same(*(f"{split}_{side}" for split in ("train", "val") for side in resolutions))
