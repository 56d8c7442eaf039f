"""Searches over tiny networks: what is sampled, what is shared, what is not done twice, what is found."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tiny_cascade import BASE as TINY_BASE
from tiny_cascade import SR, sampling, write_model

from cdm_kedro.files.table import from_csv, to_csv
from cdm_kedro.model.weights import write_weights
from cdm_kedro.params.search import SearchParams, SearchScheduleParams, SearchStepsParams, SearchTruncationParams
from cdm_kedro.sampling.best import BestValuesError, resolve_best
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.checks import CascadeError
from cdm_kedro.sampling.job import SamplingJob, run_job
from cdm_kedro.studies.search import sweep as search_module
from cdm_kedro.studies.search.figures import FIGURES
from cdm_kedro.studies.search.points import schedule_points, steps_points, stored_bytes, truncation_points
from cdm_kedro.studies.search.sweep import best_of, sweep

BASE = {"num_samples": 6, "batch_size": 4, "precision": "fp32", "devices": 1}
STAGES = {"base": {"steps": 40}, "sr": {"steps": 4}}


def truncation(**changes: Any) -> SearchTruncationParams:
    raw = {**BASE, "stage": "sr", "stages": STAGES, "s": [0, 5, 10], **changes}
    return SearchTruncationParams.model_validate(raw)


def mean_score(samples: Path) -> dict[str, Any]:
    with np.load(samples) as file:
        return {"fd_train": float(file["arr_0"].mean()), "n": len(file["arr_0"])}


def run(
    params: SearchParams,
    points: list[Any],
    models: dict[str, Path],
    folder: Path,
    real: dict[str, Path] | None = None,
    score: Any = mean_score,
) -> tuple[list[dict[str, Any]], list[tuple[str, bool]]]:
    told: list[tuple[str, bool]] = []
    some = {name: models[name] for name in params.stages}
    swept = sweep(points, params, some, real or {}, folder, score, lambda p, row, r: told.append((p.name, r)))
    return swept.rows, told


def test_points_are_those_of_the_tables() -> None:
    found = {(p.axes["conditioning"], p.axes["s"]): p.sampling for p in truncation_points(truncation())}
    assert set(found) == {
        ("none", 0),
        *((mode, s) for mode in ("truncated", "non_truncated") for s in (5, 10)),
        *((split, s) for split in ("train", "val") for s in (0, 5, 10)),
    }
    for (mode, s), settings in found.items():
        assert settings.s == s and settings.truncated == (mode == "truncated") and settings.steps == 4
        assert settings.conditioning == (mode if mode in ("train", "val") else "generated")
    raw = {**BASE, "stage": "sr", "stages": STAGES}
    assert [p.sampling.steps for p in steps_points(SearchStepsParams.model_validate({**raw, "steps": [8, 2]}))] == [
        2,
        8,
    ]
    grid = {"steps": 3, "beta_start": [0.01, 0.3], "beta_end": [0.2, 0.5], "schedules": ["linear", "cosine"]}
    points = schedule_points(SearchScheduleParams.model_validate({**raw, **grid}))
    assert [p.name for p in points] == ["linear_0.01_0.2", "linear_0.01_0.5", "linear_0.3_0.5", "cosine"]
    assert points[2].sampling.beta_end == 0.5 and points[3].axes == {"schedule": "cosine", "steps": 3}


def test_every_point_equals_the_cascade_sampled_with_its_settings(
    models: dict[str, Path], real: dict[str, Path], tmp_path: Path
) -> None:
    """Stored z_0 and z_s change nothing: with all steps of the low stage, search and sampling agree to the bit."""
    params = truncation()
    points = truncation_points(params)
    rows, told = run(params, points, models, tmp_path / "search", real)
    assert told == [(p.name, False) for p in points] and [r["s"] for r in rows] == [p.axes["s"] for p in points]
    for point, row in zip(points, rows, strict=True):
        stages = {"base": params.stages["base"], "sr": point.sampling}
        job = SamplingJob(
            folder=str(tmp_path / point.name),
            models={name: str(models[name]) for name in stages},
            params=sampling().model_copy(update={**BASE, "stages": stages}),
            real={name: str(path) for name, path in real.items()},
        )
        assert row["fd_train"] == mean_score(run_job(job).files[16])["fd_train"]
        assert row["psnr_to_input_db"] > 0
    assert len({row["fd_train"] for row in rows}) == len(rows)


def test_low_samples_are_made_once_and_cost_what_is_stated(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []
    original = Cascade.run

    def counting(self: Cascade, *args: Any) -> Any:
        made.append([model.name for model in self.models])
        return original(self, *args)

    monkeypatch.setattr(Cascade, "run", counting)
    params = truncation(modes=["truncated", "non_truncated"])
    points = truncation_points(params)
    run(params, points, models, tmp_path)
    assert made.count(["base"]) == 2 and made.count(["sr"]) == 2 * len(points) and len(made) == 2 + 2 * len(points)
    arrays: dict[str, int] = {}
    for shard in tmp_path.glob("*/low/shards/*.npz"):
        with np.load(shard) as file:
            for key in file.files:
                arrays[key] = arrays.get(key, 0) + file[key].nbytes
    assert set(arrays) == {"base", "base@5", "base@10"}
    assert sum(arrays.values()) == stored_bytes(points, 6, 8) == 6 * 3 * 64 * (1 + 4 * 2)


def test_a_killed_search_goes_on_at_the_point(models: dict[str, Path], tmp_path: Path) -> None:
    params = truncation(modes=["non_truncated"])
    points = truncation_points(params)
    calls: list[str] = []

    def dying(samples: Path) -> dict[str, Any]:
        calls.append(samples.parent.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return mean_score(samples)

    with pytest.raises(KeyboardInterrupt):
        run(params, points, models, tmp_path / "killed", score=dying)
    rows, told = run(params, points, models, tmp_path / "killed", score=dying)
    assert calls == ["none_s0", "non_truncated_s5", "non_truncated_s5", "non_truncated_s10"]
    assert told == [("none_s0", True), ("non_truncated_s5", False), ("non_truncated_s10", False)]
    assert rows == run(params, points, models, tmp_path / "whole")[0]
    kept = sorted(path.name for path in tmp_path.glob("killed/*/points/*"))
    assert kept == sorted(f"{p.name}.json" for p in points)
    # Other weights in the same place, or other settings, are another search.
    retrained = {**models, "base": tmp_path / "base.safetensors"}
    shutil.copyfile(models["base"], retrained["base"])
    first, _ = run(params, points, retrained, tmp_path / "again")
    with safe_open(retrained["base"], "pt") as file:
        tensors, said = {key: file.get_tensor(key) * 1.01 for key in file.keys()}, file.metadata()  # noqa: SIM118
    write_weights(retrained["base"], tensors, said)
    others, told = run(params, points, retrained, tmp_path / "again")
    assert not any(resumed for _, resumed in told) and others != first == rows
    _, told = run(params.model_copy(update={"seed": 7}), points, retrained, tmp_path / "again")
    assert not any(resumed for _, resumed in told)


def test_impossible_points_are_refused_before_anything_is_sampled(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "run_job", lambda *_: pytest.fail("sampled"))
    for changes, message in (
        ({"s": [5, 41]}, r"truncated_s41 cannot be sampled: stages.sr.s is 41; sr was trained for s: 0 to 40"),
        ({"modes": ["train", "truncated"]}, "train_8"),
    ):
        params = truncation(**changes)
        with pytest.raises(CascadeError, match=message):
            run(params, truncation_points(params), models, tmp_path)


def test_steps_and_schedules_run(models: dict[str, Path], tmp_path: Path) -> None:
    stages = {"base": {"steps": 3}, "sr": {"steps": 3, "s": 10, "truncated": True}, "top": {}}
    raw = {**BASE, "stage": "top", "stages": stages}
    steps = SearchStepsParams.model_validate({**raw, "steps": [1, 3]})
    rows, _ = run(steps, steps_points(steps), models, tmp_path / "steps")
    assert [r["steps"] for r in rows] == [1, 3] and rows[0]["fd_train"] != rows[1]["fd_train"]
    more = {"steps": 2, "schedules": ["log", "cosine"], "beta_start": [0.01], "beta_end": [0.7]}
    schedules = SearchScheduleParams.model_validate({**raw, **more})
    rows, _ = run(schedules, schedule_points(schedules), models, tmp_path / "schedules")
    assert [r["schedule"] for r in rows] == ["log", "cosine"]


def test_best_is_the_lowest_of_generated_inputs() -> None:
    rows = [
        {"conditioning": c, "s": s, "fd": v} for c, s, v in (("val", 0, 1.0), ("none", 0, 3.0), ("truncated", 5, 2.0))
    ]
    assert best_of(rows, "fd") is rows[2]
    assert best_of([{"steps": 4, "fd": 2.0}, {"steps": 8, "fd": 1.0}], "fd")["steps"] == 8
    with pytest.raises(ValueError, match="generated"):
        best_of(rows[:1], "fd")


def test_best_values_are_filled_in(models: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    from cdm_kedro.files.hashes import sha256

    digests = {name: sha256(models[name]) for name in ("base", "sr")}
    found = {"stage": "sr", "values": {"s": 5, "truncated": False}, "models": digests}
    asked = sampling(stages={"sr": {"s": "best"}})
    filled = resolve_best(asked, {"search_truncation": found}, models)
    assert (filled.stages["sr"].s, filled.stages["sr"].truncated, filled.stages["sr"].steps) == (5, False, 4)
    assert filled.stages["top"] == asked.stages["top"] and caplog.text == ""
    resolve_best(asked, {"search_truncation": {**found, "models": {**digests, "sr": "0"}}}, models)
    assert "search_truncation was run with other weights of sr" in caplog.text
    with pytest.raises(BestValuesError, match=r"kedro run --pipeline=search_truncation"):
        resolve_best(asked, {}, models)
    with pytest.raises(BestValuesError, match="which searched base"):
        resolve_best(asked, {"search_truncation": {**found, "stage": "base"}}, models)
    both = sampling(stages={"top": {"schedule": "best"}})
    values = {"stage": "top", "models": {}, "values": {"schedule": "log", "beta_end": 0.4, "steps": 7}}
    top = resolve_best(both, {"search_schedule": values}, models).stages["top"]
    assert (top.schedule, top.beta_start, top.beta_end, top.steps) == ("log", 0.01, 0.4, 7)


def test_table_and_figures(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "search_truncation": [
            {"conditioning": c, "s": s, "fd": 2.0 + s / 10, "fd_std": 0.1}
            for c, s in (("none", 0), ("truncated", 5), ("non_truncated", 5), ("train", 0), ("val", 0))
        ],
        "search_steps": [{"steps": n, "fd": 1 / n} for n in (4, 16, 1000)],
        "search_schedule": [
            {"schedule": "cosine", "fd": 1.0},
            {"schedule": "log", "beta_start": 0.1, "beta_end": 0.2, "fd": 2.0},
        ],
    }
    for name, some in rows.items():
        text = to_csv(some)
        assert from_csv(text) == some
        assert csv.DictReader(io.StringIO(text)).fieldnames == list(dict.fromkeys(k for row in some for k in row))
        FIGURES[name](from_csv(text), "fd", tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape == (630, 960, 3) and (pixels == np.array([0x25, 0x63, 0xEB])).all(-1).any()


def test_class_conditioning_can_be_ablated(tmp_path: Path) -> None:
    """Table 4b: a super-resolution model that sees no class gives two classes the same image from the same input."""
    blind_base = {**TINY_BASE, "unet": {**TINY_BASE["unet"], "class_cond": False}}
    write_model(tmp_path / "base.safetensors", blind_base)
    for class_cond in (False, True):
        write_model(tmp_path / "sr.safetensors", {**SR, "unet": {**SR["unet"], "class_cond": class_cond}})
        cascade = Cascade.from_files(tmp_path, device=torch.device("cpu"))
        images = cascade.run(torch.tensor([0, 1]), torch.tensor([4, 4]), 0).images
        assert torch.equal(images["base"][0], images["base"][1])
        assert torch.equal(images["sr"][0], images["sr"][1]) is not class_cond
