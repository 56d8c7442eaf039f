"""Searches after training: one model is sampled and scored at many settings, conditioned on samples made once."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.hashes import sha256
from cdm_kedro.files.table import Row
from cdm_kedro.model.load import read_description
from cdm_kedro.params.model import ModelParams
from cdm_kedro.params.sampling import SamplingParams
from cdm_kedro.params.search import SearchParams
from cdm_kedro.sampling.checks import check_cascade
from cdm_kedro.sampling.inputs import SamplingInputs
from cdm_kedro.sampling.job import SamplingJob, run_job
from cdm_kedro.studies.search.points import Point, truncated_at
from cdm_kedro.tracking.live import live


def log_point(point: Point, row: Row, resumed: bool) -> None:
    """Record a point as a run below the stage's."""
    settings, tags = {**point.axes, **point.sampling.model_dump()}, {"cdm.resumed": str(resumed)}
    with live().nested(point.name, settings, tags) as run:
        run.log_metrics({key: value for key, value in row.items() if key not in point.axes}, step=0)


def sweep(
    points: list[Point],
    params: SearchParams,
    inputs: SamplingInputs,
    folder: Path,
    score: Callable[[Path], Row],
    on_point: Callable[[Point, Row, bool], None] = log_point,
    stored: tuple[str, Path] | None = None,
) -> list[Row]:
    """Sample and score every point. A point once scored with the same models and settings is not done again.

    Generated low-resolution samples, and their states z_s at every truncated s, are made once and shared by all
    points. All points use the same noise, so that differences between them are not differences of luck. Raises
    CdmError if the models do not allow the settings; nothing has been sampled then. Returns for each point in order
    its axes, its scores, and how consistent its samples are with their input. Shared samples are
    ``<folder>/*/low/samples_*.npz``. ``inputs``: weights of the searched model and those below it, and FFCV files of
    low-resolution images. ``on_point``: called as ``on_point(point, row, resumed)`` for every point in order.
    ``stored``: the low model, and its samples where another job made them.
    """
    models, real, _ = inputs
    model, _ = read_description(models[params.stage])
    for point in points:
        try:  # now rather than hours later
            check_cascade(models, point_job(params, point, models, Path()).params, real)
        except CdmError as error:
            raise CdmError(f"{point.name} cannot be sampled: {str(error).replace('sample.stages', 'stages')}") from None
    folder = folder / _identity(params, inputs)
    low = stored or _sample_low(points, params, model, models, folder / "low")
    rows = []
    for number, point in enumerate(points, 1):
        file = folder / "points" / f"{point.name}.json"
        resumed = file.exists()
        if not resumed:
            work = file.with_suffix("")
            given = low if point.sampling.conditioning == "generated" else None
            job = point_job(params, point, models, work, target=params.stage, real=dict(real), stored=given)
            result = run_job(job, f"{point.name} ({number} of {len(points)})")
            prefix = f"{params.stage}/"
            own = {k.removeprefix(prefix): v for k, v in result.summary.items() if k.startswith(prefix)}
            write_text(file, json.dumps({**point.axes, **score(result.files[model.resolution]), **own}))
            shutil.rmtree(work)
        row = json.loads(file.read_text(encoding="utf-8"))
        on_point(point, row, resumed)
        rows.append(row)
    return rows


def point_job(params: SearchParams, point: Point, models: Mapping[str, Path], folder: Path, **more: Any) -> SamplingJob:
    """The sampling job of a point: of all models, unless ``more`` fields of the job say otherwise."""
    common = {key: getattr(params, key) for key in SamplingParams.model_fields}
    common["stages"] = {**params.stages, params.stage: point.sampling}
    return SamplingJob(folder=folder, models=dict(models), params=SamplingParams.model_validate(common), **more)


def _identity(params: SearchParams, inputs: SamplingInputs) -> str:
    """Name of the folder for all that these models, images and settings make, whoever calls."""
    settings = params.model_dump(mode="json", exclude={"devices", "compile", "select"})
    files = {name: sha256(path) for name, path in sorted({**inputs.models, **inputs.real}.items())}
    return hashlib.sha256(json.dumps([settings, files], sort_keys=True).encode()).hexdigest()[:16]


def _sample_low(
    points: list[Point], params: SearchParams, model: ModelParams, models: Mapping[str, Path], folder: Path
) -> tuple[str, Path] | None:
    """Make the low model's samples that all points share; returns its name and the folder of their job."""
    generated = [point for point in points if point.sampling.conditioning == "generated"]
    if model.low is None or not generated:
        return None
    states_at = {model.low: tuple(truncated_at(points))}
    job = point_job(params, generated[0], models, folder, target=model.low, states_at=states_at)
    run_job(job, f"{model.low}, once for all points")
    return model.low, folder


def best_of(rows: list[Row], metric: str) -> Row:
    """Find the row with the lowest metric among those of generated inputs. Raises ValueError if there is none."""
    eligible = [row for row in rows if row.get("conditioning") not in ("train", "val")]
    if not eligible:
        raise ValueError("no point is conditioned on generated samples")
    return min(eligible, key=lambda row: float(row[metric]))
