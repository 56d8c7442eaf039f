"""Weights files: safetensors, written atomically, with reproducible bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def _sort_metadata(path: Path) -> None:
    """Sort a safetensors file's metadata in place: the library writes them in another order in every process."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise RuntimeError(f"{path}: the header grew from {length} to {len(text)} bytes when sorted")
        file.seek(8)
        file.write(text.ljust(length))  # trailing spaces are part of the format


def write_weights(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically; equal contents are equal bytes."""
    part = path.with_name(path.name + ".part")
    save_file({k: v.detach().float().cpu().contiguous() for k, v in tensors.items()}, part, metadata)
    _sort_metadata(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
