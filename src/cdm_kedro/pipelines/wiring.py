"""Shorthand for wiring: a stage of one node, and datasets that a node takes or makes under their own names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kedro.pipeline import Node, Pipeline


def stage(
    name: str, node: str, function: Callable[..., Any], inputs: dict[str, str], outputs: Any, *tags: str
) -> Pipeline:
    """A stage of one node.

    Args:
        name: the stage, which is the node's namespace.
        node: name of the node.
        function: what the node calls.
        inputs: argument to dataset.
        outputs: key of the result to dataset, or the one dataset.
        tags: tags of the node.
    """
    return Pipeline([Node(function, inputs, outputs, name=node, namespace=name, tags=tags)])


def same(*names: str) -> dict[str, str]:
    """Datasets whose arguments are called like them."""
    return dict(zip(names, names, strict=True))


def real_images(resolutions: Iterable[int]) -> dict[str, str]:
    """The FFCV files of real images of some sizes: ``train_<resolution>`` and ``val_<resolution>``."""
    return same(*(f"{split}_{side}" for split in ("train", "val") for side in tuple(resolutions)))


def parts(name: str, *keys: str) -> dict[str, str]:
    """Datasets ``<name>_<key>`` by key."""
    return {key: f"{name}_{key}" for key in keys}
