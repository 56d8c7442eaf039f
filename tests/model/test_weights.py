"""Weights files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cdm_kedro.files.tensors import write_weights


def test_weights_file_describes_itself_and_never_appears_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {key: f'"{key}" é' for key in "fcbaed"}
    write_weights(tmp_path / "m.safetensors", {"w": torch.ones(2, dtype=torch.bfloat16)}, described)
    assert torch.equal(load_file(tmp_path / "m.safetensors")["w"], torch.ones(2))
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert file.metadata() == described
    contents = (tmp_path / "m.safetensors").read_bytes()
    order = [contents.index(f'"{key}":'.encode()) for key in "abcdef"]
    assert order == sorted(order)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_weights(tmp_path / "n.safetensors", {"w": torch.ones(2)}, {})
    assert not (tmp_path / "n.safetensors").exists()
