"""Writing weights files. Reading is in model/load.py, so that an edit to it retrains nothing."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from cdm_kedro.files.tensors import write_tensors


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors, as float32, and what the file says of itself; equal contents are equal bytes."""
    write_tensors(path, {name: tensor.detach().float() for name, tensor in tensors.items()}, metadata)
