"""Node that samples the cascade for the classifiers; in its own file, so that an edit of theirs samples nothing."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.cas import CasParams
from cdm_kedro.params.sampling import SampleParams


def sample_for_classifiers(sample: SampleParams, params: CasParams, labels: Path, **inputs: Any) -> dict[str, Path]:
    """Sample the cascade as the stage ``sample`` does, but as many of each class as ``cas`` asks for.

    ``labels`` is an FFCV file of the training images; other ``inputs`` are those of ``sample``.
    """
    from cdm_kedro.data.beton import check_beton
    from cdm_kedro.sampling.best import resolve_best
    from cdm_kedro.sampling.inputs import sort_inputs
    from cdm_kedro.sampling.job import SamplingJob, run_job
    from cdm_kedro.tracking.scratch import scratch_dir

    models, real, best = sort_inputs(inputs)
    given = labels if params.num_samples == "train" else None
    number = params.num_samples if given is None else check_beton(given).num_samples
    settings = resolve_best(sample.model_copy(update={"num_samples": number}), best, models)
    job = SamplingJob(folder=scratch_dir("cas_samples"), models=models, params=settings, real=real, labels_of=given)
    files = run_job(job, "samples for classifiers").files
    return {f"samples_{side}": files[side] for side in params.resolutions}
