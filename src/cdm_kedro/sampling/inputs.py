"""What sampling is given: datasets of a node, sorted by their names, and a class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cdm_kedro.errors import CdmError


class SamplingInputs(NamedTuple):
    """What sampling reads. ``real``: ``train_<resolution>`` and ``val_<resolution>`` to FFCV files of real images."""

    models: dict[str, Path]
    real: dict[str, Path]
    best: dict[str, dict[str, Any]]


def sort_inputs(inputs: Mapping[str, Any]) -> SamplingInputs:
    """Sort ``<model>_model`` (lowest first), ``<split>_<resolution>`` (FFCV) and ``<search>_best`` datasets."""

    def ending(suffix: str) -> dict[str, Any]:
        return {name.removesuffix(suffix): value for name, value in inputs.items() if name.endswith(suffix)}

    real = {name: Path(path) for name, path in inputs.items() if name.startswith(("train_", "val_"))}
    return SamplingInputs({name: Path(path) for name, path in ending("_model").items()}, real, ending("_best"))


def class_index(name: Any, classes: list[str]) -> int:
    """Index of a class given by name or index. Raises CdmError if there is no such class."""
    if name in classes:
        return classes.index(name)
    if str(name).isdecimal() and int(name) < len(classes):
        return int(name)
    shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise CdmError(f"no class {name!r}; there are {len(classes)}: {shown}")
