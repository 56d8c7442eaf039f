"""One row of a table: a model sampled on top of what the model below made, and scored."""

from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.scoring import make_scorer
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.files.npz import write_arrays
from cdm_kedro.files.table import Row
from cdm_kedro.model.load import read_description
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import JobParams, ModelSamplingParams
from cdm_kedro.params.search import SearchParams
from cdm_kedro.params.table import RowParams
from cdm_kedro.sampling.inputs import SamplingInputs
from cdm_kedro.studies.search.points import Point
from cdm_kedro.studies.search.sweep import sweep
from cdm_kedro.tracking.live import live

_SHOWN = 8  # samples of a row that are kept for the pictures


def score_row(
    row: RowParams,
    job: JobParams,
    evaluate: EvaluateParams,
    reference: Path,
    low: Path | None,
    inputs: SamplingInputs,
    folder: Path,
) -> dict[str, Any]:
    """Sample and score the model of a row; rows that enlarge the same images share their noise.

    Returns ``scores``: what sampling was told, the metrics, and how consistent the samples are with their input; and
    ``pictures``: npz with the first samples, ``high``, and the images that condition them, ``low``. ``low`` is an npz
    of the samples of the model below, or for a truncated row the folder with its states z_s.
    """
    model, _ = read_description(inputs.models[row.model])
    scorer = make_scorer(make_extractor(evaluate), evaluate, reference, model.resolution)
    finished = None if low is None else next(low.glob("samples_*.npz"), low)
    if finished is not None and (count := NpzSource(finished).count) < job.num_samples:
        raise CdmError(
            f"job.num_samples is {job.num_samples}, but there are {count} samples of {model.low} to condition on; "
            "raise sample.num_samples, or lower the table's"
        )

    def score(samples: Path) -> Row:
        shown = {"high": NpzSource(samples).read(range(min(_SHOWN, job.num_samples)))}
        if finished is not None:
            shown["low"] = NpzSource(finished).read(range(len(shown["high"])))
        write_arrays(folder / "pictures.npz", shown)
        return scorer(samples)

    settings = ModelSamplingParams.model_validate(row.model_dump(exclude={"model"}))
    point = Point(row.model, {"resolution": model.resolution, **row.model_dump(exclude_defaults=True)}, settings)
    stages = {name: ModelSamplingParams.model_validate({}) for name in inputs.models}
    search = SearchParams.model_validate({**job.model_dump(), "stage": row.model, "stages": stages})
    stored = None if low is None or model.low is None else (model.low, low)
    (found,) = sweep([point], search, inputs, folder, score, lambda *_: None, stored)
    live().log_metrics(found, step=0)
    return {"scores": found, "pictures": folder / "pictures.npz"}
