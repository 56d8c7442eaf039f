"""Writing safetensors files."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from cdm_kedro.files.tensors import write_tensors

TENSORS = {
    "b": torch.arange(6.0).view(2, 3),
    "a": torch.randn(3, 4, 5, 5).to(memory_format=torch.channels_last),
    "é": torch.tensor(7),
    "half": torch.randn(3).bfloat16(),
    "none": torch.zeros(0, 3),
    "flags": torch.tensor([True, False, True]),
    "t": torch.arange(6).view(2, 3).t(),
}


@pytest.mark.parametrize("metadata", [None, {}, {"b": '"x"', "a": "ü"}])
def test_a_file_holds_what_was_written_and_its_hash_is_known(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "folder/x.safetensors"
    digest = write_tensors(path, TENSORS, metadata)
    content = path.read_bytes()
    assert digest == hashlib.sha256(content).hexdigest()
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    with safe_open(path, "pt") as file:
        assert (file.metadata() or None) == (metadata or None)
    assert write_tensors(path, dict(reversed(TENSORS.items())), metadata) == digest
    # as many bytes as the library's own, and the same ones where it has but one order to choose
    plain = {name: tensor.float().contiguous() for name, tensor in TENSORS.items() if tensor.ndim}
    write_tensors(path, plain, metadata)
    theirs = save(plain, metadata)
    assert path.stat().st_size == len(theirs)
    if not metadata:
        assert path.read_bytes() == theirs
