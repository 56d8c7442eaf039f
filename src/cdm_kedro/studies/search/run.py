"""A whole search: every point swept, the best found, and the best of each kind scored again on more samples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.metrics import metric_names
from cdm_kedro.evaluation.paper import beside
from cdm_kedro.evaluation.scoring import make_scorer
from cdm_kedro.files.hashes import sha256
from cdm_kedro.files.table import to_csv
from cdm_kedro.model.load import read_description
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import SEARCHES
from cdm_kedro.params.search import SearchParams
from cdm_kedro.sampling.inputs import SamplingInputs
from cdm_kedro.studies.search.points import POINTS, stored_bytes
from cdm_kedro.studies.search.sweep import best_of, sweep
from cdm_kedro.tracking.git import commit
from cdm_kedro.tracking.live import live

_KIND = {"search_truncation": "conditioning", "search_steps": "steps", "search_schedule": "schedule"}
"""Each search and the axis whose values each have a best point that is worth a score on more samples."""


def run_search(
    search: str, params: SearchParams, evaluate: EvaluateParams, reference: Path, inputs: SamplingInputs, folder: Path
) -> dict[str, Any]:
    """Sweep the points of a search.

    Returns ``table`` (CSV with a row a point, the paper's Table 3 beside, and in columns ``report_<metric>`` the scores
    on ``report_samples``) and ``best``: the sampling settings of the point with the lowest Fréchet distance.
    """
    points, run, extractor = POINTS[search](params), live(), make_extractor(evaluate)
    model, _ = read_description(inputs.models[params.stage])
    score = make_scorer(extractor, evaluate, reference, model.resolution)
    if model.low_resolution is not None:
        stored = stored_bytes(points, max(params.num_samples, params.report_samples or 0), model.low_resolution)
        run.log_metrics({"stored_gib": stored / 2**30}, step=0)
    rows = sweep(points, params, inputs, folder, score)
    metric = f"{metric_names(extractor.name)['fd']}_{params.select}"
    best = best_of(rows, metric)
    number = rows.index(best)
    if search == "search_truncation":
        rows = [{**row, **beside("table3", point.name)} for row, point in zip(rows, points, strict=True)]
    if params.report_samples is not None:
        ranked = sorted(range(len(rows)), key=lambda i: -float(rows[i][metric]))
        chosen = sorted({rows[i][_KIND[search]]: i for i in ranked}.values())
        again = [replace(points[i], name=f"{points[i].name}_report") for i in chosen]
        more = params.model_copy(update={"num_samples": params.report_samples})
        found = sweep(again, more, inputs, folder, score)
        for i, row in zip(chosen, found, strict=True):
            rows[i] |= {f"report_{key}": value for key, value in row.items() if key not in points[i].axes}
    values = points[number].sampling.model_dump()
    return {
        "table": to_csv(rows),
        "best": {
            "stage": params.stage,
            "values": {key: values[key] for key in SEARCHES[search]},
            "metric": metric,
            "score": best[metric],
            "score_std": best.get(f"{metric}_std"),
            "num_samples": params.num_samples,
            "report_score": rows[number].get(f"report_{metric}"),
            "search": search,
            "key": run.key,
            "mlflow_run": run.run_id,
            "git_commit": commit(),
            "models": {name: sha256(path) for name, path in inputs.models.items()},
        },
    }
