"""Searches after training: sample and score one stage at many settings, conditioned on samples made once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.hashes import sha256
from cdm_kedro.files.table import Row
from cdm_kedro.model.load import read_description
from cdm_kedro.params.model import ModelParams
from cdm_kedro.params.sampling import SamplingParams
from cdm_kedro.params.search import SearchParams
from cdm_kedro.sampling.checks import CascadeError, check_cascade
from cdm_kedro.sampling.job import SamplingJob, run_job
from cdm_kedro.studies.search.points import Point


class Swept(NamedTuple):
    """Rows in the points' order, and the npz of the low-resolution samples that they share, if there are any."""

    rows: list[Row]
    low: Path | None


def sweep(
    points: list[Point],
    params: SearchParams,
    models: Mapping[str, Path],
    real: Mapping[str, Path],
    folder: Path,
    score: Callable[[Path], Row],
    on_point: Callable[[Point, Row, bool], None],
) -> Swept:
    """Sample and score every point; a point once scored by the same models and settings is not done again.

    Generated low-resolution samples, and their states z_s at every truncated s, are made once and shared by all
    points. All points use the same noise, so that differences between them are not differences of luck.

    Args:
        points: settings of ``params.stage``.
        params: the job; ``num_samples`` a point.
        models: weights of the stage and those below it, lowest first.
        real: FFCV files of low-resolution images, where points are conditioned on them.
        folder: for unfinished work and results.
        score: scores of an npz of samples.
        on_point: called as ``on_point(point, row, resumed)`` for every point in order.

    Returns:
        Rows of each point's axes, its scores, and how faithful the samples are to their input.

    Raises:
        CascadeError: settings that the models do not allow, before anything is sampled.
    """
    stage, _ = read_description(models[params.stage])
    _refuse_early(points, params, models, real)
    folder = folder / _identity(params, models, real)
    low = _sample_low(points, params, stage, models, folder / "low")
    results = folder / "points"
    results.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, point in enumerate(points, 1):
        file = results / f"{point.name}.json"
        resumed = file.exists()
        if not resumed:
            work = results / point.name
            job = _job(params, point, models, work).model_copy(
                update={
                    "target": params.stage,
                    "real": {name: str(path) for name, path in real.items()},
                    "stored": low if point.sampling.conditioning == "generated" else None,
                }
            )
            result = run_job(job, f"{point.name} ({number} of {len(points)})")
            faithful = {k.split("/")[1]: v for k, v in result.summary.items() if k.startswith(f"{params.stage}/")}
            row = {**point.axes, **score(result.files[stage.resolution]), **faithful}
            write_text(file, json.dumps(row))
            shutil.rmtree(work)
        row = json.loads(file.read_text(encoding="utf-8"))
        on_point(point, row, resumed)
        rows.append(row)
    low_samples = None
    if low is not None:
        low_samples = folder / "low" / f"samples_{stage.low_resolution}.npz"
    return Swept(rows, low_samples)


def _identity(params: SearchParams, models: Mapping[str, Path], real: Mapping[str, Path]) -> str:
    """Name of the folder of everything that these models, images and settings make, whoever calls."""
    settings = params.model_dump(mode="json", exclude={"devices", "compile", "select"})
    files = {name: sha256(path) for name, path in sorted({**models, **real}.items())}
    return hashlib.sha256(json.dumps([settings, files], sort_keys=True).encode()).hexdigest()[:16]


def _job(params: SearchParams, point: Point, models: Mapping[str, Path], folder: Path) -> SamplingJob:
    common = {key: getattr(params, key) for key in SamplingParams.model_fields}
    stages = {**params.stages, params.stage: point.sampling}
    return SamplingJob(
        folder=str(folder),
        models={name: str(path) for name, path in models.items()},
        params=SamplingParams.model_validate({**common, "stages": stages}),
    )


def _refuse_early(
    points: list[Point], params: SearchParams, models: Mapping[str, Path], real: Mapping[str, Path]
) -> None:
    """Refuse every impossible point now rather than hours later."""
    for point in points:
        try:
            check_cascade(models, _job(params, point, models, Path()).params, real)
        except CascadeError as error:
            reason = str(error).replace("sample.stages", "stages")
            raise CascadeError(f"{point.name} cannot be sampled: {reason}") from None


def _sample_low(
    points: list[Point], params: SearchParams, stage: ModelParams, models: Mapping[str, Path], folder: Path
) -> tuple[str, str] | None:
    generated = [p for p in points if p.sampling.conditioning == "generated"]
    if stage.low is None or not generated:
        return None
    levels = tuple(sorted({p.sampling.s for p in points if p.sampling.truncated and isinstance(p.sampling.s, int)}))
    job = _job(params, generated[0], models, folder).model_copy(
        update={"target": stage.low, "states_at": {stage.low: levels}}
    )
    run_job(job, f"{stage.low}, once for all points")
    return stage.low, str(folder)


def best_of(rows: list[Row], metric: str) -> Row:
    """The row with the lowest metric among those of generated inputs.

    Raises:
        ValueError: there is none.
    """
    eligible = [row for row in rows if row.get("conditioning") not in ("train", "val")]
    if not eligible:
        raise ValueError("no point is conditioned on generated samples")
    return min(eligible, key=lambda row: float(row[metric]))
