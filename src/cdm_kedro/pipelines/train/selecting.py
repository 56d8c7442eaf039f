"""The node that trains a model and selects its weights; its code includes sampling and evaluation."""

from collections.abc import Callable
from typing import Any

from cdm_kedro.pipelines.train.nodes import make_train

RUNS_MODULES = ("cdm_kedro.evaluation.selection",)
"""Modules that the training process runs for this node; provenance counts them as its code."""


def make_selecting_train(stage: str) -> Callable[..., dict[str, Any]]:
    """Make the node that trains the model of a stage with ``training.selection``."""
    train = make_train(stage, selector=RUNS_MODULES[0])
    train.__module__ = __name__  # where provenance begins to look for a node's code
    return train
