"""Nodes that sample the cascade and draw its grids."""

from typing import Any

from cdm_kedro.params.sampling import SampleParams


def sample_cascade(params: SampleParams, **inputs: Any) -> dict[str, Any]:
    """Sample every model of the cascade, class-balanced.

    Returns ``samples_<resolution>``: an npz with ``arr_0`` (N, H, W, 3) uint8 and ``arr_1`` (N,) int64 labels.
    ``card``: throughput, each model's consistency with its input, MLflow run, commit and parameters. ``several_s``:
    what s does, where a model was trained for every s. ``inputs``: see ``sampling.inputs.sort_inputs``; real images and
    what searches found are there where models ask for them.
    """
    from cdm_kedro.sampling.best import resolve_best
    from cdm_kedro.sampling.inputs import sort_inputs
    from cdm_kedro.sampling.job import SamplingJob, run_job
    from cdm_kedro.sampling.several_s import enlarge_at_several_s
    from cdm_kedro.tracking.git import commit
    from cdm_kedro.tracking.live import live
    from cdm_kedro.tracking.scratch import scratch_dir

    models, real, best = sort_inputs(inputs)
    resolved = resolve_best(params, best, models)
    result = run_job(SamplingJob(folder=scratch_dir("sample"), models=models, params=resolved, real=real))
    live().log_metrics(result.summary, step=0)
    facts = {"mlflow_run": live().run_id, "git_commit": commit(), "params": resolved.model_dump(mode="json")}
    samples = {f"samples_{resolution}": path for resolution, path in result.files.items()}
    several_s = enlarge_at_several_s(models, resolved, samples, scratch_dir("sample"))
    return {**samples, **several_s, "card": {**result.summary, **facts}}
