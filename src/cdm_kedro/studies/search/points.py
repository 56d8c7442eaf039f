"""The sampling settings that a search tries."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from cdm_kedro.files.table import Row
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.params.search import SearchScheduleParams, SearchTruncationParams


@dataclass(frozen=True)
class Point:
    """One setting of the searched model."""

    name: str
    axes: Row
    sampling: ModelSamplingParams


def _changed(sampling: ModelSamplingParams, **values: Any) -> ModelSamplingParams:
    return ModelSamplingParams.model_validate({**sampling.model_dump(), **values})


def truncation_points(params: SearchTruncationParams) -> list[Point]:
    """Every way of conditioning at every s (Tables 3a and 3b); s = 0 of generated inputs is one point, "none"."""
    points: dict[str, Point] = {}
    for mode in params.modes:
        for s in sorted(params.s):
            generated = mode in ("truncated", "non_truncated")
            conditioning = "none" if generated and s == 0 else mode
            settings = _changed(
                params.stages[params.stage],
                s=s,
                truncated=mode == "truncated" and s > 0,
                conditioning="generated" if generated else mode,
            )
            name = f"{conditioning}_s{s}"
            points.setdefault(name, Point(name, {"conditioning": conditioning, "s": s}, settings))
    return list(points.values())


def schedule_points(params: SearchScheduleParams) -> list[Point]:
    """Every inference schedule with every pair of end points at every number of steps (section 4.4, Figure 8)."""
    points: dict[str, Point] = {}
    for steps, schedule, start, end in product(params.steps, params.schedules, params.beta_start, params.beta_end):
        betas = {} if schedule in ("train", "cosine") else {"beta_start": start, "beta_end": end}
        if start and end and start >= end and betas:
            continue
        ends = {key: beta for key, beta in betas.items() if beta is not None}
        several = [f"steps{steps}"] if len(params.steps) > 1 else []
        name = "_".join([schedule, *(f"{beta:g}" for beta in ends.values()), *several])
        settings = _changed(params.stages[params.stage], schedule=schedule, steps=steps, **ends)
        points[name] = Point(name, {"schedule": schedule, **ends, "steps": steps}, settings)
    return list(points.values())


POINTS: dict[str, Callable[[Any], list[Point]]] = {
    "search_truncation": truncation_points,
    "search_steps": schedule_points,
    "search_schedule": schedule_points,
}
"""Each search and its points. Steps and schedule are one search, named by the value that one wants to know."""


def truncated_at(points: list[Point]) -> list[int]:
    """Values of s, ascending, at which truncated points need the low model's states z_s."""
    return sorted({int(point.sampling.s) for point in points if point.sampling.truncated})


def stored_bytes(points: list[Point], num_samples: int, low_resolution: int) -> int:
    """Disk that the low model's samples take while the search runs: 1 byte a value for z_0, 4 for each z_s."""
    return num_samples * 3 * low_resolution**2 * (1 + 4 * len(truncated_at(points)))
