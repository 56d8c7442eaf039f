"""The GPU suite's parts on the CPU at tiny sizes: whole, within its budget, and past a failing part."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import gpu_suite
import training

CPU = torch.device("cpu")


def test_suite_runs_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    stages = {
        "sr64": (training.stage_params("test", "sr64"), 2),
        "base32": (training.stage_params("test", "base32"), 2),
    }
    real = training.compare

    def compare(params: object, *rest: object) -> object:
        if getattr(params, "resolution", 0) == 32:
            raise torch.OutOfMemoryError("too large")
        return real(params, *rest)

    monkeypatch.setattr(training, "compare", lambda *a, per_turn=1: compare(*a))
    found = gpu_suite.suite(stages, [32], None, CPU, 10, rounds=1, steps=2, compile_them=False, files=4)
    assert list(found) == ["sr64 step", "sr64 trainer", "base32 step", "base32 trainer", "loader 32"]
    assert found["sr64 step"]["ours images/s"] > 0 and found["sr64 step"]["tflops"] > 0
    assert 0 <= found["sr64 trainer"]["loader_wait_share"] < 1
    assert found["base32 step"]["failed"] == "OutOfMemoryError: too large" and "tflops" in found["base32 trainer"]
    assert found["loader 32"]["ours over torch folder"] > 0


def test_suite_names_what_it_leaves_out() -> None:
    found = gpu_suite.suite({"sr64": (training.stage_params("test", "sr64"), 2)}, [], None, CPU, minutes=-1)
    assert list(found["sr64 step"]) == list(found["sr64 trainer"]) == ["left out"]


def test_overhead_is_a_share_of_the_step() -> None:
    torch.set_num_threads(1)
    found = training.overhead(training.stage_params("test", "sr64"), 6)
    assert 0 < found["overhead share"] < 1 and found["ms a step"] > 0
