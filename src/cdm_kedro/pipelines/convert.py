"""Node that converts published weights to a model of the cascade."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.model import PretrainedModelParams


def make_convert(stage: str) -> Callable[..., dict[str, Any]]:
    """Make the node of a model; ``stage`` is the model's name, and that of its stage."""

    def convert(pretrained: Path, params: PretrainedModelParams) -> dict[str, Any]:
        """Convert published weights instead of training.

        Returns ``model`` (safetensors, float32) and ``card``. Raises CdmError if the file holds another network;
        the message lists names and shapes. ``params``: of the model; the network that they describe must be the file's.
        """
        from cdm_kedro.model.openai import convert_file
        from cdm_kedro.tracking.git import commit
        from cdm_kedro.tracking.live import live
        from cdm_kedro.tracking.scratch import scratch_dir

        weights = scratch_dir(stage) / f"{stage}.safetensors"
        card = {
            "stage": stage,
            **convert_file(pretrained, stage, params, weights),
            "params": params.model_dump(mode="json"),
            "mlflow_run": live().run_id,
            "git_commit": commit(),
        }
        return {"model": weights, "card": card}

    return convert
