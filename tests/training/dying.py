"""The training process with an accident, as DYING says: "<rank> <step> <moment> <signal or raise>".

Moments: ``begin`` of the step, ``backward`` done, ``optimizer`` done but not the average, ``saving``: the tensors of
the step's checkpoint are written, its description is not. Every earlier checkpoint is on disk by then.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch

from cdm_kedro.model.ema import EMA
from cdm_kedro.processes.worker import run
from cdm_kedro.training import checkpoint, trainer, worker


def arrange(step: int, moment: str, what: str) -> None:
    now: dict[str, Any] = {"step": -1}

    def strike(at: str) -> None:
        if at == moment and now["step"] == step:
            if what == "raise":
                raise ArithmeticError("the accident")
            os.kill(os.getpid(), getattr(signal, what))

    train_step, optimize, average = trainer.Trainer.train_step, torch.optim.Adam.step, EMA.update
    write = checkpoint.write_text

    def step_with_accident(self: Any, *args: Any) -> None:
        self.checkpoints.join()
        now["step"] = self.step
        strike("begin")
        train_step(self, *args)

    def optimize_with_accident(self: Any) -> None:
        strike("backward")
        optimize(self)

    def average_with_accident(self: Any) -> None:
        strike("optimizer")
        average(self)

    def write_with_accident(path: Path, text: str) -> None:
        strike("saving")
        write(path, text)

    trainer.Trainer.train_step = step_with_accident  # type: ignore[method-assign]
    torch.optim.Adam.step = optimize_with_accident
    EMA.update = average_with_accident  # type: ignore[method-assign]
    checkpoint.write_text = write_with_accident


if __name__ == "__main__":
    rank, step, moment, what = os.environ["DYING"].split()
    if rank == os.environ.get("RANK", "0"):
        arrange(int(step), moment, what)
    run(worker.main)
