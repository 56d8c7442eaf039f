"""Resume checkpoints on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_kedro.training.checkpoint import CheckpointMismatch, Checkpoints


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


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, {"a": 1})
    checkpoints.save(1, {"x": torch.ones(3)}, {}, wait=True)

    def full(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cdm_kedro.training.checkpoint.save_file", full)
    assert checkpoints.save(2, {"x": torch.zeros(3)}, {})
    checkpoints.join()
    assert not list(tmp_path.glob("*2*")) and not list(tmp_path.glob("*.part"))
    found = checkpoints.load(torch.device("cpu"))
    assert found is not None and found[0] == 1 and torch.equal(found[1]["x"], torch.ones(3))
    with pytest.raises(CheckpointMismatch, match="a: 1 -> 2"):
        Checkpoints(tmp_path, {"a": 2}).load(torch.device("cpu"))
