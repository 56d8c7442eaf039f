"""Scores of weights during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cdm_kedro.data.beton import read_beton
from cdm_kedro.evaluation.selection import Selector
from cdm_kedro.pipelines.train.selecting import RUNS_MODULES
from cdm_kedro.training.launch import launch
from cdm_kedro.training.loop import World
from training_jobs import make_job

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread(_two_threads: None) -> None:
    torch.set_num_threads(1)  # tiny tensors


def frechet_distance_by_nuclear_norm(a: np.ndarray, b: np.ndarray) -> float:
    """With centred, scaled A and B the trace of the covariances' product's root is the nuclear norm of A B^T."""
    (mu_a, a), (mu_b, b) = (
        (x.mean(0), (x - x.mean(0)) / np.sqrt(len(x) - 1)) for x in (a.astype(float), b.astype(float))
    )
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((mu_a - mu_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross)


@pytest.mark.parametrize(("low", "split"), [(True, "train"), (False, "val")])
def test_scores_are_frechet_distances_of_samples_that_do_not_depend_on_sharing(
    betons: dict[str, Path], tmp_path: Path, low: bool, split: str
) -> None:
    wanted = {
        "every": 1,
        "split": split,
        "num_samples": 6,
        "batch_size": 4,
        "steps": 2,
        "input_side": 32,
        "s": 3 if low else 0,
        "variance": "large" if low else "small",
    }
    job = make_job(betons["train_64"], tmp_path, precision="fp32", selection=wanted)
    if not low:
        raw = job.model_dump(mode="json")
        raw["params"] |= {"low": None, "low_resolution": None, "augmentation": {"kind": "none"}}
        raw["params"]["training"]["crop"] = None
        job = type(job).model_validate({**raw, "held_out": str(betons["val_64"])})
    torch.manual_seed(0)
    selector = Selector(job, World(0, 1, CPU))
    assert selector.name == "fd_efficientnet_lite0_32px"
    assert selector.model.sampling.variance == wanted["variance"]
    assert ("variance" in job.training.selection.model_dump()) == low  # weights carry it, but not the default
    weights = {name: t.clone() for name, t in selector.model.net.state_dict().items()}
    classes: list[int] = []
    sample = selector.model.sample
    selector.model.sample = lambda y, *rest: classes.extend(y.tolist()) or sample(y, *rest)  # type: ignore[method-assign,func-returns-value]
    whole = selector.sample(np.arange(6))
    compared, stored = read_beton(betons[f"{split}_64"])
    assert classes == stored[np.arange(6) * len(stored) // 6].tolist()
    assert whole.shape == (6, 64, 64, 3) and whole.dtype == np.uint8 and whole.std() > 10
    for share in (np.arange(0, 6, 2), np.arange(1, 6, 2)):
        assert np.abs(selector.sample(share).astype(int) - whole[share]).max() <= 1
    real = selector.extractor(compared)[0]
    wanted_score = frechet_distance_by_nuclear_norm(selector.extractor(whole)[0], real)
    assert selector.score(weights) == pytest.approx(wanted_score, rel=0.02)
    changed = {name: t + 0.05 for name, t in weights.items()}
    assert selector.score(changed) != pytest.approx(wanted_score, rel=0.02)


def test_a_compiled_network_samples_batches_of_one_shape(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without CUDA graphs, whose memory training would miss; and a failure costs speed alone."""
    wanted = {"every": 1, "num_samples": 5, "batch_size": 4, "steps": 2, "input_side": 32}
    scores, ways, shapes = [], [], []

    def compiler(net: Any, **way: Any) -> Any:
        ways.append(way)

        def call(x: torch.Tensor, *rest: Any) -> Any:
            if len(shapes) == 4:  # of two batches in two steps
                raise RuntimeError("no kernel image")
            shapes.append(tuple(x.shape))
            return net(x, *rest)

        return call

    monkeypatch.setattr(torch, "compile", compiler)
    for compile in (None, True):
        job = make_job(betons["train_64"], tmp_path, precision="fp32", compile=compile, selection=wanted)
        torch.manual_seed(0)
        selector = Selector(job, World(0, 1, CPU))
        weights = {name: t.clone() for name, t in selector.model.net.state_dict().items()}
        scores += [selector.score(weights), selector.score(weights)]
    assert shapes == 4 * [(3, 3, 64, 64)] and ways == [{"dynamic": False}]
    assert scores[1:] == pytest.approx(3 * scores[:1], rel=1e-6) and "no kernel image" in caplog.text


def test_two_processes_share_the_scoring(betons: dict[str, Path], tmp_path: Path) -> None:
    wanted = {"every": 1, "num_samples": 5, "batch_size": 2, "steps": 2, "input_side": 32}
    job = make_job(betons["train_64"], tmp_path, precision="fp32", steps=2, devices=2, selection=wanted)
    job = job.model_copy(update={"selector": RUNS_MODULES[0]})
    events: list[dict[str, Any]] = []
    result = launch(job, events.append)
    scores = {e["step"]: e["metrics"]["fd_efficientnet_lite0_32px"] for e in events if e["event"] == "selection"}
    assert [tuple(pair) for pair in result.card["scores"]] == list(scores.items()) and list(scores) == [1, 2]
    assert result.card["selected_step"] == min(scores, key=lambda step: scores[step])
    alone = Selector(job, World(0, 1, CPU)).score(load_file(result.weights))
    assert result.card["selected_score"] == pytest.approx(alone, rel=1e-3)
