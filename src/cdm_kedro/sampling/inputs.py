"""Inputs of a node that samples, sorted by the names of their datasets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class SamplingInputs(NamedTuple):
    """What sampling reads. ``real``: ``train_<resolution>`` and ``val_<resolution>`` to FFCV files of real images."""

    models: dict[str, Path]
    real: dict[str, Path]
    best: dict[str, dict[str, Any]]


def sort_inputs(inputs: Mapping[str, Any]) -> SamplingInputs:
    """Sort ``<model>_model``, ``<split>_<resolution>`` and ``<search>_best`` datasets."""

    def ending(suffix: str) -> dict[str, Any]:
        return {name.removesuffix(suffix): value for name, value in inputs.items() if name.endswith(suffix)}

    real = {name: Path(path) for name, path in inputs.items() if name.startswith(("train_", "val_"))}
    return SamplingInputs({name: Path(path) for name, path in ending("_model").items()}, real, ending("_best"))
