"""Nodes of the searches: sweep one stage's sampling, score every point, write the table and the best values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import SEARCHES
from cdm_kedro.params.search import SearchParams, SearchScheduleParams, SearchStepsParams, SearchTruncationParams

if TYPE_CHECKING:
    from cdm_kedro.studies.search.points import Point


def search_truncation(
    params: SearchTruncationParams, evaluate: EvaluateParams, reference: Path, **inputs: Path
) -> dict[str, Any]:
    """Score the searched stage at every s: truncated, non-truncated, and conditioned on real images.

    Args:
        params: what is searched.
        evaluate: how points are scored.
        reference: statistics of real images.
        inputs: ``<stage>_model`` lowest first, and ``train_<resolution>`` and ``val_<resolution>`` FFCV files of the
            low resolution.

    Returns:
        ``table`` (CSV; the paper's Table 3 beside) and ``best`` (s and truncated).
    """
    from cdm_kedro.evaluation.paper import TABLE_3
    from cdm_kedro.studies.search.points import truncation_points

    def beside(row: dict[str, Any]) -> dict[str, Any]:
        published = TABLE_3.get(row["conditioning"], {}).get(row["s"])
        names = ("paper_fid_train", "paper_fid_val", "paper_inception_score")
        return dict(zip(names, published, strict=True)) if published else {}

    return _search("search_truncation", truncation_points(params), params, evaluate, reference, inputs, beside)


def search_steps(
    params: SearchStepsParams, evaluate: EvaluateParams, reference: Path, **inputs: Path
) -> dict[str, Any]:
    """Score the searched stage at every number of reverse steps (Figure 8).

    Returns:
        ``table`` (CSV) and ``best`` (steps, with the schedule they were found with).
    """
    from cdm_kedro.studies.search.points import steps_points

    return _search("search_steps", steps_points(params), params, evaluate, reference, inputs)


def search_schedule(
    params: SearchScheduleParams, evaluate: EvaluateParams, reference: Path, **inputs: Path
) -> dict[str, Any]:
    """Score the searched stage with every inference schedule (section 4.4).

    Returns:
        ``table`` (CSV) and ``best`` (schedule, end points and steps).
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
    beside: Any = None,
) -> dict[str, Any]:
    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.scoring import make_scorer, metric_names
    from cdm_kedro.files.hashes import sha256
    from cdm_kedro.files.table import to_csv
    from cdm_kedro.model.load import read_description
    from cdm_kedro.studies.search.points import stored_bytes
    from cdm_kedro.studies.search.sweep import best_of, sweep
    from cdm_kedro.tracking.git import commit
    from cdm_kedro.tracking.live import live
    from cdm_kedro.tracking.scratch import scratch_dir

    models = {key.removesuffix("_model"): path for key, path in inputs.items() if key.endswith("_model")}
    real = {key: path for key, path in inputs.items() if key.startswith(("train_", "val_"))}
    stage, _ = read_description(models[params.stage])
    run = live()

    def on_point(point: Point, row: dict[str, Any], resumed: bool) -> None:
        with run.child(point.name, {**point.axes, **point.sampling.model_dump()}, {"cdm.resumed": str(resumed)}) as own:
            own.log_metrics({key: value for key, value in row.items() if key not in point.axes}, step=0)

    extractor = make_extractor(evaluate)
    scorer = make_scorer(extractor, evaluate, reference, stage.resolution)

    def score(samples: Path) -> dict[str, Any]:
        return {**scorer(samples), "extractor": extractor.name}

    if stage.low_resolution is not None:
        gib = stored_bytes(points, params.num_samples, stage.low_resolution) / 2**30
        run.log_metrics({"stored_gib": gib}, step=0)
    rows = sweep(points, params, models, real, scratch_dir(name), score, on_point).rows
    metric = f"{metric_names(extractor.name)['fd']}_{params.select}"
    best = best_of(rows, metric)
    chosen = points[rows.index(best)].sampling.model_dump()
    return {
        "table": to_csv([{**row, **(beside(row) if beside else {})} for row in rows]),
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
            "models": {stage_name: sha256(path) for stage_name, path in models.items()},
        },
    }
