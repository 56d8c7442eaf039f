"""The process that trains one model: ``python -m cdm_kedro.training.worker job.json``, alone or under torchrun.

One process, the leader, has the job, prints one JSON object a line on standard output and writes the files. Nodes that
run ``python -m cdm_kedro.training.worker -`` receive the job from it. Exit codes: 0 done; 130 and 143 interrupted by
SIGINT and SIGTERM, with the state saved; 1 failed.
"""

from functools import partial
from typing import TYPE_CHECKING

from cdm_kedro.processes.worker import run
from cdm_kedro.training.process import train

if TYPE_CHECKING:
    from cdm_kedro.training.loop import Emit, Loop, World


def make(job: str, world: "World", emit: "Emit") -> "Loop":
    """Build the trainer of a job."""
    import torch

    from cdm_kedro.training.job import TrainingJob
    from cdm_kedro.training.trainer import Trainer

    if world.cuda:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return Trainer(TrainingJob.model_validate_json(job), world, emit)


main = partial(train, make=make)

if __name__ == "__main__":
    run(main)
