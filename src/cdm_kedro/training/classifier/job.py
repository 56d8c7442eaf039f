"""What a classifier's training process is told. Imports no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.training.job import Job


class ClassifierJob(Job):
    """One classifier to train, and to test on the FFCV file ``validation``; both hold images of ``resolution`` pixels.

    ``weights`` is the file to write the network to; None where its scores are all that is wanted.
    """

    params: ClassifierParams
    resolution: int
    validation: str
    weights: str | None = None
    no_identity: ClassVar[dict[str, Any]] = {
        "validation": True,
        "weights": True,
        "params": {"compile", "devices", "log_every", "checkpoint_seconds"},
    }

    @property
    def training(self) -> ClassifierParams:
        """How the classifier is trained."""
        return self.params
