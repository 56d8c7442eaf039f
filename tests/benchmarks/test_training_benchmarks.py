"""The benchmark of the training step, at tiny sizes."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import training


def test_overhead_is_a_share_of_the_step() -> None:
    torch.set_num_threads(1)
    found = training.overhead(training.stage_params("test", "sr64"), 6)
    assert 0 < found["overhead share"] < 1 and found["ms a step"] > 0
