"""Nodes that search over how a trained model is sampled: they score every point, and keep the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import SEARCHES
from cdm_kedro.params.search import SearchParams, SearchScheduleParams, SearchStepsParams, SearchTruncationParams

if TYPE_CHECKING:
    from cdm_kedro.files.table import Row
    from cdm_kedro.studies.search.points import Point


def search_truncation(
    params: SearchTruncationParams, evaluate: EvaluateParams, reference: Path, **inputs: Path
) -> dict[str, Any]:
    """Score a model at every s: truncated, non-truncated, and conditioned on real images.

    Returns ``table`` (CSV, with the paper's Table 3 beside) and ``best`` (s and truncated).

    Args:
        inputs: ``<model>_model``, lowest first, and ``train_<resolution>`` and ``val_<resolution>`` FFCV files of the
            low resolution.
    """
    from cdm_kedro.evaluation.paper import TABLE_3
    from cdm_kedro.studies.search.points import truncation_points

    points = truncation_points(params)
    columns = ("paper_fid_train", "paper_fid_val", "paper_inception_score")
    published = [TABLE_3.get(point.axes["conditioning"], {}).get(point.axes["s"], ()) for point in points]
    beside = [dict(zip(columns, numbers, strict=False)) for numbers in published]
    return _search("search_truncation", points, params, evaluate, reference, inputs, beside)


def search_steps(
    params: SearchStepsParams, evaluate: EvaluateParams, reference: Path, **inputs: Path
) -> dict[str, Any]:
    """Score a model at every number of reverse steps (Figure 8).

    Returns ``table`` (CSV) and ``best`` (steps, with the schedule that they were found with).
    """
    from cdm_kedro.studies.search.points import steps_points

    return _search("search_steps", steps_points(params), params, evaluate, reference, inputs)


def search_schedule(
    params: SearchScheduleParams, evaluate: EvaluateParams, reference: Path, **inputs: Path
) -> dict[str, Any]:
    """Score a model with every inference schedule (section 4.4).

    Returns ``table`` (CSV) and ``best`` (schedule, end points and steps).
    """
    from cdm_kedro.studies.search.points import schedule_points

    return _search("search_schedule", schedule_points(params), params, evaluate, reference, inputs)


def _search(
    name: str,
    points: list[Point],
    params: SearchParams,
    evaluate: EvaluateParams,
    reference: Path,
    inputs: dict[str, Path],
    beside: Sequence[Row] = (),
) -> dict[str, Any]:
    """Sweep the points; ``beside`` holds further columns of each one's row."""
    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.scoring import make_scorer, metric_names
    from cdm_kedro.files.hashes import sha256
    from cdm_kedro.files.table import to_csv
    from cdm_kedro.model.load import read_description
    from cdm_kedro.sampling.inputs import sort_inputs
    from cdm_kedro.studies.search.points import stored_bytes
    from cdm_kedro.studies.search.sweep import best_of, sweep
    from cdm_kedro.tracking.git import commit
    from cdm_kedro.tracking.live import live
    from cdm_kedro.tracking.scratch import scratch_dir

    models, real, _ = sort_inputs(inputs)
    model, _ = read_description(models[params.stage])
    extractor, run = make_extractor(evaluate), live()
    scorer = make_scorer(extractor, evaluate, reference, model.resolution)

    def score(samples: Path) -> dict[str, Any]:
        return {**scorer(samples), "extractor": extractor.name}

    if model.low_resolution is not None:
        stored = stored_bytes(points, params.num_samples, model.low_resolution)
        run.log_metrics({"stored_gib": stored / 2**30}, step=0)
    rows = sweep(points, params, models, real, scratch_dir(name), score).rows
    metric = f"{metric_names(extractor.name)['fd']}_{params.select}"
    best = best_of(rows, metric)
    chosen = points[rows.index(best)].sampling.model_dump()
    return {
        "table": to_csv([{**row, **more} for row, more in zip(rows, beside or [{}] * len(rows), strict=True)]),
        "best": {
            "stage": params.stage,
            "values": {key: chosen[key] for key in SEARCHES[name]},
            "metric": metric,
            "score": best[metric],
            "score_std": best.get(f"{metric}_std"),
            "num_samples": params.num_samples,
            "search": name,
            "key": run.key,
            "mlflow_run": run.run_id,
            "git_commit": commit(),
            "models": {searched: sha256(path) for searched, path in models.items()},
        },
    }
