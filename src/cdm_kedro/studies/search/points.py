"""The settings that a search tries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cdm_kedro.files.table import Row
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.params.search import SearchScheduleParams, SearchStepsParams, SearchTruncationParams


@dataclass(frozen=True)
class Point:
    """One setting of the searched stage.

    Attributes:
        name: of its run and files.
        axes: what is varied, as the table's first columns.
        sampling: how the stage is sampled.
    """

    name: str
    axes: Row
    sampling: ModelSamplingParams


def _changed(sampling: ModelSamplingParams, **values: Any) -> ModelSamplingParams:
    return ModelSamplingParams.model_validate({**sampling.model_dump(), **values})


def truncation_points(params: SearchTruncationParams) -> list[Point]:
    """Tables 3a and 3b: every mode at every s; generated inputs at s = 0 are one point, "none"."""
    points: dict[str, Point] = {}
    for mode in params.modes:
        for s in sorted(params.s):
            generated = mode in ("truncated", "non_truncated")
            name = "none" if generated and s == 0 else mode
            settings = _changed(
                params.stages[params.stage],
                s=s,
                truncated=mode == "truncated" and s > 0,
                conditioning="generated" if generated else mode,
            )
            points.setdefault(f"{name}_s{s}", Point(f"{name}_s{s}", {"conditioning": name, "s": s}, settings))
    return list(points.values())


def steps_points(params: SearchStepsParams) -> list[Point]:
    """Figure 8: every number of reverse steps."""
    base = params.stages[params.stage]
    return [Point(f"steps{n}", {"steps": n}, _changed(base, steps=n)) for n in sorted(params.steps)]


def schedule_points(params: SearchScheduleParams) -> list[Point]:
    """Every inference schedule with every pair of end points; the cosine schedule has none."""
    points: dict[str, Point] = {}
    for schedule in params.schedules:
        for start in params.beta_start:
            for end in params.beta_end:
                if schedule != "cosine" and start >= end:
                    continue
                ends = {} if schedule == "cosine" else {"beta_start": start, "beta_end": end}
                name = "_".join([schedule, *(f"{beta:g}" for beta in ends.values())])
                settings = _changed(params.stages[params.stage], schedule=schedule, steps=params.steps, **ends)
                points[name] = Point(name, {"schedule": schedule, **ends, "steps": params.steps}, settings)
    return list(points.values())


def stored_bytes(points: list[Point], num_samples: int, low_resolution: int) -> int:
    """Disk that the low stage's samples take while the search runs: 1 byte a value for z_0, 4 for each z_s."""
    states = len({p.sampling.s for p in points if p.sampling.truncated})
    return num_samples * 3 * low_resolution**2 * (1 + 4 * states)
