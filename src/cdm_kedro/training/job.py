"""The jobs of training processes. It imports no torch."""

from typing import Any, ClassVar

from cdm_kedro.params.base import Params
from cdm_kedro.params.model import TrainedModelParams, TrainingParams

_HABITS = {"devices", "compile", "log_every", "checkpoint_seconds", "checkpoint_steps", "max_nonfinite", "steps"}


class Job(Params):
    """One network to train on the FFCV file ``beton``, in the folder ``workdir``; written as JSON for the process."""

    name: str
    params: Any
    num_classes: int
    beton: str
    workdir: str
    data: dict[str, Any]  # what is known of the images
    no_identity: ClassVar[dict[str, Any]] = {}  # for pydantic's exclude: fields that decide nothing about the weights

    @property
    def training(self) -> Any:
        """Parameters with ``steps``, ``batch_size``, ``seed``, ``devices``, ``log_every``, ``checkpoint_seconds``."""
        return self.params

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the trained weights. A checkpoint of another identity is not resumed."""
        return self.model_dump(mode="json", exclude={"beton": True, "workdir": True, **self.no_identity})


class TrainingJob(Job):
    """One model to train; the module ``selector`` scores it, against the FFCV file ``held_out`` if there is one."""

    params: TrainedModelParams
    selector: str | None = None
    held_out: str | None = None
    no_identity: ClassVar[dict[str, Any]] = {
        "selector": True,
        "held_out": True,
        "params": {"unet": {"checkpointing"}, "training": _HABITS},
    }

    @property
    def training(self) -> TrainingParams:
        """How the model is trained."""
        return self.params.training
