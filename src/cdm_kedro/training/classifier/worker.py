"""``python -m cdm_kedro.training.classifier.worker job.json``, alone or under torchrun: trains a classifier.

Events and exit codes are those of :mod:`cdm_kedro.training.worker`.
"""

from __future__ import annotations

import time
from pathlib import Path

from cdm_kedro.processes.worker import begin, emitter, join_training, leave_training, run, stop_on_signals


def main(path: str) -> int:
    """Run the job described in a file."""
    place = begin()
    leader = place.rank == 0
    emit = emitter(leader)

    from cdm_kedro.data.loader import preload
    from cdm_kedro.training.classifier.job import ClassifierJob

    preload()
    job = ClassifierJob.model_validate_json(Path(path).read_text(encoding="utf-8"))

    import torch

    from cdm_kedro.training.classifier.trainer import ClassifierTrainer

    device, _ = join_training(place)
    trainer = ClassifierTrainer(job, place.rank, place.size, device, emit)
    received = stop_on_signals(trainer, leader)
    started, first = time.monotonic(), trainer.step
    trainer.run()
    if trainer.stop_requested and trainer.step < job.params.steps:
        emit({"event": "stopped", "step": trainer.step})
        return 128 + received[0]
    if leader:
        if job.weights is not None:
            trainer.write(Path(job.weights))
        facts = {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processes": place.size,
            "seconds": round(time.monotonic() - started, 1),
            "steps_this_run": trainer.step - first,
            "parameters": sum(p.numel() for p in trainer.net.parameters()),
        }
        emit({"event": "done", "counts": trainer.test(), "curve": trainer.curve, "facts": facts})
    leave_training(place)
    return 0


if __name__ == "__main__":
    run(main)
