"""The job of a classifier's training process. It imports no torch."""

from typing import Any, ClassVar

from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.training.job import Job


class ClassifierJob(Job):
    """One classifier to train, and to test on the FFCV file ``validation``, on images of ``resolution`` pixels.

    The network is written to the file ``weights``; None if only its scores are wanted.
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
