"""What crosses from the pipeline to the classifier's training process. Imports no torch."""

from __future__ import annotations

from typing import Any

from cdm_kedro.params.base import Params
from cdm_kedro.params.cas import ClassifierParams


class ClassifierJob(Params):
    """One classifier to train and to test; written as JSON for the training process."""

    name: str
    params: ClassifierParams
    resolution: int
    num_classes: int
    beton: str
    validation: str
    workdir: str
    data: dict[str, int]
    """What tells the training images from others of the same name; part of the job's identity."""
    weights: str | None = None
    """File that the trained network is written to; None where its scores are all that is wanted."""

    def identity(self) -> dict[str, Any]:
        """Everything that decides the trained weights; a checkpoint of another identity is not resumed."""
        kept = (
            *("depth", "width", "steps", "batch_size", "lr", "warmup_steps", "momentum", "weight_decay"),
            *("random_flip", "min_crop", "precision", "seed"),
        )
        params = self.params.model_dump(mode="json")
        return {
            "name": self.name,
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "data": self.data,
            "params": {key: params[key] for key in kept},
        }
