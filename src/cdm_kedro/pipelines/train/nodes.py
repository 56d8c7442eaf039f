"""The node that trains a model: it builds the job, launches it, and passes its events to the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.model import TrainedModelParams


def make_train(stage: str, selector: str | None = None) -> Callable[..., dict[str, Any]]:
    """Make the node that trains the model of a stage. ``selector`` is the module that scores weights, if any does."""

    def train(
        images: Path,
        classes: list[str],
        data_card: dict[str, Any],
        params: TrainedModelParams,
        held_out: Path | None = None,
    ) -> dict[str, Any]:
        """Train one model of the cascade.

        Returns ``model`` (safetensors with the EMA weights, float32), ``card`` and ``curve``. ``data_card``: what
        preprocessing recorded; its hash of ``images`` becomes part of the job. ``held_out``: FFCV file of validation
        images, where ``training.selection`` compares with them.
        """
        from cdm_kedro.tracking.git import commit
        from cdm_kedro.tracking.live import live
        from cdm_kedro.tracking.scratch import scratch_dir
        from cdm_kedro.training.job import TrainingJob
        from cdm_kedro.training.launch import launch

        job = TrainingJob(
            name=stage,
            params=params,
            beton=str(images),
            num_classes=len(classes),
            workdir=str(scratch_dir(stage)),
            data=data_card["betons"][f"train_{params.resolution}"],
            selector=selector,
            held_out=str(held_out) if held_out else None,
        )
        run = live()
        result = launch(job, run.log_event)
        run.log_metrics(result.summary, step=params.training.steps)
        card = {**result.card, "mlflow_run": run.run_id, "git_commit": commit()}
        return {"model": result.weights, "card": card, "curve": result.curve}

    return train
