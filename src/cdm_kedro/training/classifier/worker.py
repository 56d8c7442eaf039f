"""The process that trains and tests a classifier: ``python -m cdm_kedro.training.classifier.worker job.json``.

Events and exit codes are those of :mod:`cdm_kedro.training.worker`.
"""

from functools import partial
from typing import TYPE_CHECKING

from cdm_kedro.processes.worker import run
from cdm_kedro.training.process import train

if TYPE_CHECKING:
    from cdm_kedro.training.loop import Emit, Loop, World


def make(job: str, world: "World", emit: "Emit") -> "Loop":
    """Build the trainer of a job."""
    from cdm_kedro.training.classifier.launch import ClassifierJob
    from cdm_kedro.training.classifier.trainer import ClassifierTrainer

    return ClassifierTrainer(ClassifierJob.model_validate_json(job), world, emit)


if __name__ == "__main__":
    run(partial(train, make=make))
