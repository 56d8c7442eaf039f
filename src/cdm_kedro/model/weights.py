"""Writing weights files: safetensors, whole or not at all, with bytes that depend on the contents alone.

Reading is in model/load.py, so that an edit to it retrains nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from cdm_kedro.files.atomic import written_whole


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors, as float32, and what the file says of itself; equal contents are equal bytes."""
    with written_whole(path) as part:
        save_file({k: v.detach().float().cpu().contiguous() for k, v in tensors.items()}, part, metadata)
        _sort_metadata(part)


def _sort_metadata(path: Path) -> None:
    """Sort a safetensors file's metadata in place, which the library orders differently in every process."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise RuntimeError(f"{path}: the header grew from {length} to {len(text)} bytes when sorted")
        file.seek(8)
        file.write(text.ljust(length))  # trailing spaces are part of the format
