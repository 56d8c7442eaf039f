"""Resume checkpoints on disk."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch

from cdm_kedro.errors import CdmError
from cdm_kedro.files.hashes import sha256
from cdm_kedro.training.checkpoint import Checkpoints, host_memory


def test_a_snapshot_holds_what_was_saved_not_what_came_after(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    weight, curve = torch.arange(12.0).view(3, 4).t(), [1]
    checkpoints.save(1, {"w": weight}, {"curve": list(curve)})
    checkpoints.before_change()
    weight.zero_()
    checkpoints.join()
    checkpoints.save(2, {"w": weight + 1}, {}, wait=True)
    (tmp_path / "step_000000002.json").unlink()
    found = checkpoints.load(torch.device("cpu"))
    assert found is not None and torch.equal(found[1]["w"], torch.arange(12.0).view(3, 4).t())


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {"a": 1})
    checkpoints.save(1, {"x": torch.ones(3)}, {}, wait=True)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a file that is larger cannot be written
    try:
        assert checkpoints.save(2, {"x": torch.zeros(3), "y": torch.zeros(100_000)}, {})
        checkpoints.join()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob("*2*")) and not list(tmp_path.glob("*.part"))
    found = checkpoints.load(torch.device("cpu"))
    assert found is not None and found[0] == 1 and torch.equal(found[1]["x"], torch.ones(3))
    with pytest.raises(CdmError, match="a: 1 -> 2"):
        Checkpoints(tmp_path, {"a": 2}).load(torch.device("cpu"))


def test_the_hash_of_a_checkpoint_is_that_of_its_file(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {}).save(1, {"x": torch.ones(3, 5), "n": torch.tensor(7)}, {}, wait=True)
    record = json.loads((tmp_path / "step_000000001.json").read_text())
    assert record["sha256"] == sha256(tmp_path / "step_000000001.safetensors")


def test_tensors_share_pieces_of_host_memory() -> None:
    """Pinned memory comes in powers of two; no tensor overlaps another, and each keeps its memory format."""
    tensors = {f"w{i}": torch.randn(65 + i, 33, 3, 3).to(memory_format=torch.channels_last) for i in range(20)}
    tensors |= {"step": torch.tensor(3.0), "count": torch.arange(5), "odd": torch.randn(7, 3).t()}
    room = host_memory(tensors, pinned=False, piece=1 << 18)
    for name, tensor in tensors.items():
        room[name].copy_(tensor)
    for name, tensor in tensors.items():
        assert torch.equal(room[name], tensor) and room[name].stride() == tensor.stride()
    pieces = {view.untyped_storage().data_ptr(): view.untyped_storage().nbytes() for view in room.values()}
    needed = sum(tensor.nbytes for tensor in tensors.values())
    alone = sum(1 << (tensor.nbytes - 1).bit_length() for tensor in tensors.values())
    rounded = sum(1 << (size - 1).bit_length() for size in pieces.values())
    assert len(pieces) < 10 and needed <= rounded < 1.3 * needed < alone
