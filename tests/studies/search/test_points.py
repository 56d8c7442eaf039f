from __future__ import annotations

from cdm_kedro.params.search import SearchScheduleParams
from cdm_kedro.studies.search.points import schedule_points, truncation_points
from tiny_search import BASE, STAGES, truncation


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
    joint = {"steps": [8, 2], "schedules": ["train", "linear"], "beta_end": [0.5, None]}
    points = schedule_points(SearchScheduleParams.model_validate({**raw, **joint}))
    kinds = ("train", "linear_0.5", "linear")
    assert [p.name for p in points] == [f"{kind}_steps{steps}" for steps in (8, 2) for kind in kinds]
    assert [(p.sampling.steps, p.sampling.schedule, p.sampling.beta_end) for p in points][3:] == [
        (2, "train", None),
        (2, "linear", 0.5),
        (2, "linear", None),
    ]
    grid = {"steps": [3], "beta_start": [0.01, 0.3], "beta_end": [0.2, 0.5], "schedules": ["linear", "cosine"]}
    points = schedule_points(SearchScheduleParams.model_validate({**raw, **grid}))
    assert [p.name for p in points] == ["linear_0.01_0.2", "linear_0.01_0.5", "linear_0.3_0.5", "cosine"]
    assert points[2].sampling.beta_end == 0.5 and points[3].axes == {"schedule": "cosine", "steps": 3}
    open_ended = {"steps": [3], "beta_start": [0.01, None], "schedules": ["log", "cosine"]}
    points = schedule_points(SearchScheduleParams.model_validate({**raw, **open_ended}))
    assert [p.name for p in points] == ["log_0.01", "log", "cosine"]
    assert points[0].sampling.beta_end is None and points[1].axes == {"schedule": "log", "steps": 3}
