"""Nodes that make one row of a table, and the states z_s that truncated rows share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import JobParams
from cdm_kedro.params.table import RowParams
from cdm_kedro.sampling.inputs import sort_inputs
from cdm_kedro.tracking.scratch import scratch_dir


def score_row(
    row: RowParams, job: JobParams, evaluate: EvaluateParams, reference: Path, low: Path | None = None, **inputs: Path
) -> dict[str, Any]:
    """Sample and score the model of a row; see :func:`cdm_kedro.studies.table.row.score_row`.

    ``inputs``: see ``sampling.inputs.sort_inputs``; real images are there where they condition it.
    """
    from cdm_kedro.studies.table.row import score_row

    return score_row(row, job, evaluate, reference, low, sort_inputs(inputs), scratch_dir("row"))


def make_states(low: str) -> Callable[..., Path]:
    """The node that samples the model ``low`` and stores its states z_s at some s."""

    def sample_states(job: JobParams, states: list[int], **inputs: Any) -> Path:
        """Sample it as ``settings_<model>`` say; returns a folder: shards with samples and states, and an npz."""
        from cdm_kedro.params.sampling import SamplingParams
        from cdm_kedro.sampling.job import SamplingJob, run_job

        files, folder = sort_inputs(inputs).models, scratch_dir("states") / "states"
        params = SamplingParams(**job.model_dump(), stages={name: inputs[f"settings_{name}"] for name in files})
        made = SamplingJob(folder=folder, models=files, params=params, states_at={low: tuple(states)}, target=low)
        run_job(made, f"{low}, once for all rows")
        (folder / "job.json").unlink()  # it names this machine's folders
        return folder

    return sample_states
