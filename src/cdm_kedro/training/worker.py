"""The training process: ``python -m cdm_kedro.training.worker job.json``, alone or under torchrun.

One process, the leader, has the job, prints one JSON object a line on standard output and writes the files; nodes that
run ``python -m cdm_kedro.training.worker -`` receive the job from it. Exit codes: 0 done; 130 and 143 interrupted by
SIGINT and SIGTERM with the state saved; 1 failed.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

from cdm_kedro.processes.worker import begin, emitter, join_training, leave_training, run, stop_on_signals


def _share_job(text: str | None, size: int) -> tuple[str, int]:
    """The job, and the rank of the process that has it.

    Args:
        text: the job in the leader, None elsewhere.
        size: number of processes; above 1 they talk to each other.

    Raises:
        RuntimeError: no process has it, or two do.
    """
    import torch.distributed as dist

    texts: list[str | None] = [text]
    if size > 1:
        texts = [None] * size
        dist.all_gather_object(texts, text)
    leaders = [rank for rank, found in enumerate(texts) if found is not None]
    if len(leaders) != 1:
        raise RuntimeError(
            f"{len(leaders)} nodes lead the training; start `kedro run` on exactly one node, "
            "`python -m torch.distributed.run -m cdm_kedro.training.worker -` on the others"
        )
    found = texts[leaders[0]]
    assert found is not None
    return found, leaders[0]


def main(path: str) -> int:
    """Run the job described in a file; "-" takes it from the leader."""
    place = begin()
    leader = path != "-" and place.leads
    emit = emitter(leader)

    from cdm_kedro.data.loader import preload

    preload()

    import torch

    from cdm_kedro.model.weights import write_weights
    from cdm_kedro.training.job import TrainingJob
    from cdm_kedro.training.trainer import Trainer, World

    device, threads = join_training(place)
    cuda = device.type == "cuda"
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    text, source = _share_job(Path(path).read_text(encoding="utf-8") if leader else None, place.size)
    job = TrainingJob.model_validate_json(text)
    trainer = Trainer(job, World(place.rank, place.size, device, source), emit)
    received = stop_on_signals(trainer, leader)
    parameters = sum(p.numel() for p in trainer.net.parameters())
    emit(
        {
            "event": "start",
            "parameters": parameters,
            "device": str(device),
            "processes": place.size,
            "threads": threads,
            "steps": job.params.training.steps,
        }
    )
    started, first = time.monotonic(), trainer.step
    trainer.run()
    if trainer.stop_requested and not trainer.finished:
        emit({"event": "stopped", "step": trainer.step})
        return 128 + (received or [signal.SIGTERM])[0]
    if leader:
        seconds = time.monotonic() - started
        out = Path(job.workdir) / f"{job.stage}.safetensors"
        description = {"stage": job.stage, "num_classes": str(job.num_classes), "params": job.params.model_dump_json()}
        description["data"] = json.dumps(job.data)  # sampling refuses a cascade of models trained on different images
        write_weights(out, trainer.weights(), description)
        done = {
            "parameters": parameters,
            "device": torch.cuda.get_device_name(device) if cuda else "cpu",
            "processes": place.size,
            "threads": threads,
            "torch": str(torch.__version__),
            "seconds": round(seconds, 1),
            "steps_this_run": trainer.step - first,
        }
        if trainer.best is not None:
            done |= {"selected_step": trainer.best[0], "selected_score": trainer.best[1], "scores": trainer.scores}
        emit({"event": "done", "weights": str(out), "curve": trainer.curve, "facts": done})
    leave_training(place)
    return 0


if __name__ == "__main__":
    run(main)
