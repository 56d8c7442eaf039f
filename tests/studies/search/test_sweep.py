"""Searches over tiny networks: what is sampled, what is shared, what is not done twice, what is found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from cdm_kedro.errors import CdmError
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.params.search import SearchParams, SearchScheduleParams
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.inputs import SamplingInputs
from cdm_kedro.sampling.job import SamplingJob, run_job
from cdm_kedro.studies.search import sweep as search_module
from cdm_kedro.studies.search.points import schedule_points, stored_bytes, truncation_points
from cdm_kedro.studies.search.sweep import best_of, sweep
from tiny_cascade import sampling
from tiny_search import BASE, truncation


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
    rows = sweep(
        points, params, SamplingInputs(some, real or {}, {}), folder, score, lambda p, row, r: told.append((p.name, r))
    )
    return rows, told


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
            folder=tmp_path / point.name,
            models={name: models[name] for name in stages},
            params=sampling().model_copy(update={**BASE, "stages": stages}),
            real=real,
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
        with pytest.raises(CdmError, match=message):
            run(params, truncation_points(params), models, tmp_path)


def test_steps_and_schedules_run(models: dict[str, Path], tmp_path: Path) -> None:
    stages = {"base": {"steps": 3}, "sr": {"steps": 3, "s": 10, "truncated": True}, "top": {}}
    raw = {**BASE, "stage": "top", "stages": stages}
    steps = SearchScheduleParams.model_validate({**raw, "steps": [1, 3], "schedules": ["train"]})
    rows, _ = run(steps, schedule_points(steps), models, tmp_path / "steps")
    assert [r["steps"] for r in rows] == [1, 3] and rows[0]["fd_train"] != rows[1]["fd_train"]
    more = {"steps": [2], "schedules": ["log", "cosine"], "beta_start": [0.01], "beta_end": [0.7]}
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
