"""Sampling nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.sampling import SampleParams


def sample_cascade(params: SampleParams, **inputs: Any) -> dict[str, Any]:
    """Sample every stage of the cascade, class-balanced.

    Args:
        params: how many, and how each stage is sampled.
        inputs: ``<stage>_model``, the weights of every stage, lowest first; ``train_<resolution>`` and
            ``val_<resolution>`` FFCV files for stages conditioned on real images; ``<search>_best`` for stages that
            ask for best values.

    Returns:
        ``samples_<resolution>``: an npz with ``arr_0`` (N, H, W, 3) uint8 and ``arr_1`` (N,) int64 labels.
        ``card``: throughput, how faithful each stage is to its input, MLflow run, commit and parameters.
    """
    from cdm_kedro.sampling.best import resolve_best
    from cdm_kedro.sampling.job import SamplingJob, run_job
    from cdm_kedro.tracking.git import commit
    from cdm_kedro.tracking.live import live
    from cdm_kedro.tracking.scratch import scratch_dir

    models = {name.removesuffix("_model"): path for name, path in inputs.items() if name.endswith("_model")}
    best = {name.removesuffix("_best"): value for name, value in inputs.items() if name.endswith("_best")}
    job = SamplingJob(
        folder=str(scratch_dir("sample")),
        models={name: str(path) for name, path in models.items()},
        params=resolve_best(params, best, models),
        real={name: str(path) for name, path in inputs.items() if name.startswith(("train_", "val_"))},
    )
    result = run_job(job)
    live().log_metrics(result.summary, step=0)
    facts = {"mlflow_run": live().run_id, "git_commit": commit(), "params": job.params.model_dump(mode="json")}
    samples = {f"samples_{resolution}": path for resolution, path in result.files.items()}
    return {**samples, "card": {**result.summary, **facts}}


def draw_grids(classes: list[str], params: SampleParams, **samples: Path) -> dict[str, Path]:
    """Draw one PNG for each ``samples_<resolution>``, one row a class.

    Returns:
        ``grid_<resolution>``: the picture's path.
    """
    import numpy as np

    from cdm_kedro.sampling.grids import draw_grid
    from cdm_kedro.tracking.scratch import scratch_dir

    grids = {}
    for name, path in samples.items():
        resolution = name.removeprefix("samples_")
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["arr_0"], file["arr_1"]
        out = scratch_dir("sample") / f"grid_{resolution}.png"
        draw_grid(images, labels, classes, params.grid_columns, out)
        grids[f"grid_{resolution}"] = out
    return grids
