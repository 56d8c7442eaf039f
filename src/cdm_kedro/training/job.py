"""What crosses from the pipeline to the training process and back. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdm_kedro.params.base import Params
from cdm_kedro.params.model import TrainedModelParams


class TrainingJob(Params):
    """One model to train; written as JSON for the training process."""

    stage: str
    params: TrainedModelParams
    beton: str
    num_classes: int
    workdir: str
    data: dict[str, Any]
    """What the data card says of ``beton``; its hash is part of the job's identity."""
    selector: str | None = None
    """Module whose ``Selector`` scores weights where ``training.selection`` is given."""

    def identity(self) -> dict[str, Any]:
        """Everything that decides the trained weights; a checkpoint of another identity is not resumed."""
        params = self.params.model_dump(mode="json")
        for key in (
            "devices",
            "compile",
            "log_every",
            "checkpoint_seconds",
            "checkpoint_steps",
            "max_nonfinite",
            "steps",
        ):
            params["training"].pop(key)
        params["unet"].pop("checkpointing")
        return {"stage": self.stage, "num_classes": self.num_classes, "data": self.data, "params": params}


@dataclass(frozen=True)
class TrainingResult:
    """What training leaves behind.

    Attributes:
        weights: safetensors with the float32 EMA weights; its metadata describes the model.
        card: the model card.
        curve: one row a log point, first column ``step``.
        summary: final metrics.
    """

    weights: Path
    card: dict[str, Any]
    curve: list[dict[str, float]]
    summary: dict[str, float]
