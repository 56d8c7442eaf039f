"""Writing safetensors files: whole or not at all, equal contents as equal bytes, hashed on the way to the disk."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cdm_kedro.files.atomic import written_whole

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16",
    torch.int64: "I64", torch.int32: "I32", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write tensors of any device and memory layout, and return the SHA-256 of the file.

    The library's own writer orders metadata differently in every process, and needs a second copy of all tensors and
    another reading for the hash. This one holds one tensor at a time.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata is not None else {}
    # Long numbers first, so that each lies at a multiple of its size.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    end = 0
    for name in order:
        tensor, begin = tensors[name], end
        end += tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # trailing spaces are part of the format
    digest = hashlib.sha256()
    with written_whole(path) as part, part.open("wb") as file:
        for block in (len(text).to_bytes(8, "little"), text):
            file.write(block)
            digest.update(block)
        for name in order:
            content = tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
            file.write(content)
            digest.update(content)
    return digest.hexdigest()


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors, as float32, and what the file says of itself; equal contents are equal bytes."""
    write_tensors(path, {name: tensor.detach().float() for name, tensor in tensors.items()}, metadata)
