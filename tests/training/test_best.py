"""Keeping the best average, and stopping early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import scripted_selector
import torch
from safetensors.torch import load_file

from cdm_kedro.training.best import best
from cdm_kedro.training.loop import World
from cdm_kedro.training.trainer import Trainer
from training_jobs import make_job

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread(_two_threads: None) -> None:
    torch.set_num_threads(1)  # tiny tensors


def trainer(beton: Path, workdir: Path, events: list[dict[str, Any]] | None = None, **training: Any) -> Trainer:
    training.setdefault("selection", {"every": 2})
    job = make_job(beton, workdir, **training).model_copy(update={"selector": "scripted_selector"})
    return Trainer(job, World(0, 1, CPU), (events if events is not None else []).append)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return load_file(trainer.finish()["weights"])


def test_the_best_average_is_kept_and_training_is_not_disturbed(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted_selector, "SCRIPT", [3.0, 1.0, 2.0, 1.0])
    events: list[dict[str, Any]] = []
    selecting = trainer(betons["train_64"], tmp_path / "a", events, steps=7)
    selecting.run()
    assert selecting.scores == [(2, 3.0), (4, 1.0), (6, 2.0), (7, 1.0)] and best(selecting.scores) == (4, 1.0)
    logged = [(e["step"], e["metrics"]) for e in events if e["event"] == "selection"]
    assert logged == [(step, {"scripted": score}) for step, score in selecting.scores]
    plain = trainer(betons["train_64"], tmp_path / "b", steps=4, selection=None)
    plain.run()
    kept, last = weights(selecting), weights(plain)
    assert kept.keys() == last.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in last.items())
    assert not torch.equal(kept["conv_in.weight"], selecting.ema.state_dict()["conv_in.weight"])


def test_patience_ends_training(betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted_selector, "SCRIPT", [2.0, float("nan"), 1.0, 5.0, 1.5, 0.0])
    patient = trainer(betons["train_64"], tmp_path, steps=12, selection={"every": 1, "patience": 2})
    patient.run()
    assert (patient.step, best(patient.scores), patient.finished) == (5, (3, 1.0), True)
    again = trainer(betons["train_64"], tmp_path, steps=12, selection={"every": 1, "patience": 2})
    again.run()  # its last checkpoint is that of the best step; the scores that follow are 2.0, not a number, ...
    assert best(again.scores) == (3, 1.0) and again.step == 5


def test_interrupted_selection_ends_alike(betons: dict[str, Path], tmp_path: Path) -> None:
    whole = trainer(betons["train_64"], tmp_path / "a", steps=8)
    whole.run()
    events: list[dict[str, Any]] = []
    parts = trainer(betons["train_64"], tmp_path / "b", steps=8)
    for stop in (3, 6):
        step = parts.train_step

        def stopping(*args: Any, step: Any = step, stop: int = stop, parts: Trainer = parts) -> None:
            step(*args)
            parts.stop_requested = parts.step == stop

        parts.train_step = stopping  # type: ignore[method-assign]
        parts.run()
        parts = trainer(betons["train_64"], tmp_path / "b", events, steps=8)
    parts.run()
    assert [e["step"] for e in events if e["event"] == "resumed"] == [3, 6]
    assert parts.scores == whole.scores and len(whole.scores) == 4
    assert all(torch.equal(weights(parts)[name], tensor) for name, tensor in weights(whole).items())
    assert len(list(tmp_path.glob("b/best_*"))) <= 2
