"""Keeping the best average, and stopping early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scripted_selector
import torch
from safetensors.torch import load_file
from training_jobs import make_job

from cdm_kedro.data.beton import read_beton
from cdm_kedro.evaluation.selection import Selector
from cdm_kedro.params.model import SelectionParams
from cdm_kedro.pipelines.train.nodes import make_train
from cdm_kedro.pipelines.train.selecting import RUNS_MODULES, make_selecting_train
from cdm_kedro.provenance.code import source_files
from cdm_kedro.training.launch import launch
from cdm_kedro.training.trainer import Trainer, World

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread(_two_threads: None) -> None:
    torch.set_num_threads(1)  # tiny tensors


def trainer(beton: Path, workdir: Path, events: list[dict[str, Any]] | None = None, **training: Any) -> Trainer:
    training.setdefault("selection", {"every": 2})
    job = make_job(beton, workdir, **training).model_copy(update={"selector": "scripted_selector"})
    return Trainer(job, World(0, 1, CPU), (events if events is not None else []).append)


def test_the_best_average_is_kept_and_training_is_not_disturbed(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted_selector, "SCRIPT", [3.0, 1.0, 2.0, 1.0])
    events: list[dict[str, Any]] = []
    selecting = trainer(betons["train_64"], tmp_path / "a", events, steps=7)
    selecting.run()
    assert selecting.scores == [(2, 3.0), (4, 1.0), (6, 2.0), (7, 1.0)] and selecting.best == (4, 1.0)
    logged = [(e["step"], e["metrics"]) for e in events if e["event"] == "selection"]
    assert logged == [(step, {"scripted": score}) for step, score in selecting.scores]
    plain = trainer(betons["train_64"], tmp_path / "b", steps=4, selection=None)
    plain.run()
    kept = selecting.weights()
    assert kept.keys() == plain.weights().keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in plain.weights().items())
    assert not torch.equal(kept["conv_in.weight"], selecting.ema.state_dict()["conv_in.weight"])


def test_patience_ends_training(betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted_selector, "SCRIPT", [2.0, float("nan"), 1.0, 5.0, 1.5, 0.0])
    patient = trainer(betons["train_64"], tmp_path, steps=12, selection={"every": 1, "patience": 2})
    patient.run()
    assert (patient.step, patient.best, patient.finished) == (5, (3, 1.0), True)
    again = trainer(betons["train_64"], tmp_path, steps=12, selection={"every": 1, "patience": 2})
    again.run()  # its last checkpoint is that of the best step; the scores that follow are 2.0, not a number, ...
    assert again.best == (3, 1.0) and again.step == 5


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
    assert all(torch.equal(parts.weights()[name], tensor) for name, tensor in whole.weights().items())
    assert len(list(tmp_path.glob("b/best_*"))) <= 2


def frechet_distance_by_nuclear_norm(a: np.ndarray, b: np.ndarray) -> float:
    """With centred, scaled A and B the trace of the covariances' product's root is the nuclear norm of A B^T."""
    (mu_a, a), (mu_b, b) = (
        (x.mean(0), (x - x.mean(0)) / np.sqrt(len(x) - 1)) for x in (a.astype(float), b.astype(float))
    )
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((mu_a - mu_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross)


@pytest.mark.parametrize("low", [True, False])
def test_scores_are_frechet_distances_of_samples_that_do_not_depend_on_sharing(
    betons: dict[str, Path], tmp_path: Path, low: bool
) -> None:
    wanted = {"every": 1, "num_samples": 6, "batch_size": 4, "steps": 2, "input_side": 32, "s": 3 if low else 0}
    job = make_job(betons["train_64"], tmp_path, precision="fp32", selection=wanted)
    if not low:
        raw = job.model_dump(mode="json")
        raw["params"] |= {"low": None, "low_resolution": None, "augmentation": {"kind": "none"}}
        raw["params"]["training"]["crop"] = None
        job = type(job).model_validate(raw)
    selector = Selector(job, 0, 1, 0, CPU)
    assert selector.name == "fd_efficientnet_lite0_32px"
    weights = {name: t.clone() for name, t in selector.net.state_dict().items()}
    whole = selector.sample(np.arange(6))
    assert whole.shape == (6, 64, 64, 3) and whole.dtype == np.uint8 and whole.std() > 10
    for share in (np.arange(0, 6, 2), np.arange(1, 6, 2)):
        assert np.abs(selector.sample(share).astype(int) - whole[share]).max() <= 1
    real = selector.extractor(read_beton(betons["train_64"])[0])[0]
    wanted_score = frechet_distance_by_nuclear_norm(selector.extractor(whole)[0], real)
    assert selector.score(weights) == pytest.approx(wanted_score, rel=0.02)
    changed = {name: t + 0.05 for name, t in weights.items()}
    assert selector.score(changed) != pytest.approx(wanted_score, rel=0.02)


def test_lineage_counts_evaluation_only_where_weights_are_selected() -> None:
    source = Path(__file__).resolve().parents[2] / "src"

    def files(function: Any) -> set[str]:
        return {str(path.relative_to(source / "cdm_kedro")) for path in source_files(function, source)}

    plain, selecting = (
        files(make_train("sr64")),
        files(
            make_selecting_train(
                "sr64",
            )
        ),
    )
    assert "training/worker.py" in plain and plain < selecting
    assert not any(name.startswith(("evaluation/", "sampling/")) for name in plain)
    assert {
        "training/selection.py",
        "evaluation/statistics.py",
        "evaluation/features.py",
        "sampling/philox.py",
    } <= selecting
    assert RUNS_MODULES == ("cdm_kedro.evaluation.selection",)
    with pytest.raises(ValueError, match="every"):
        SelectionParams(every=0)


def test_two_processes_share_the_scoring(betons: dict[str, Path], tmp_path: Path) -> None:
    wanted = {"every": 1, "num_samples": 5, "batch_size": 2, "steps": 2, "input_side": 32}
    job = make_job(betons["train_64"], tmp_path, precision="fp32", steps=2, devices=2, selection=wanted)
    job = job.model_copy(update={"selector": RUNS_MODULES[0]})
    events: list[dict[str, Any]] = []
    result = launch(job, events.append)
    scores = {e["step"]: e["metrics"]["fd_efficientnet_lite0_32px"] for e in events if e["event"] == "selection"}
    assert [tuple(pair) for pair in result.card["scores"]] == list(scores.items()) and list(scores) == [1, 2]
    assert result.card["selected_step"] == min(scores, key=lambda step: scores[step])
    alone = Selector(job, 0, 1, 0, CPU).score(load_file(result.weights))
    assert result.card["selected_score"] == pytest.approx(alone, rel=1e-3)
