"""A training process: it takes the job, obeys signals, and reports."""

import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cdm_kedro.processes.worker import begin, emitter, open_device

if TYPE_CHECKING:
    from cdm_kedro.training.loop import Emit, Loop, World

_WAIT = timedelta(hours=1)  # for a leader at work on a checkpoint on slow disks; NCCL would give it 10 minutes


def _share_job(text: str | None, world: "World") -> tuple[str, int]:
    """Return the job, and the rank of the process that has it. The other processes pass None."""
    jobs = [(found, rank) for rank, found in enumerate(world.gathered(text)) if found is not None]
    if len(jobs) != 1:
        raise RuntimeError(
            f"{len(jobs)} nodes lead the training; start `kedro run` on exactly one node, "
            "`python -m torch.distributed.run -m cdm_kedro.training.worker -` on the others"
        )
    return jobs[0]


def train(path: str, make: "Callable[[str, World, Emit], Loop]") -> int:
    """Train what a job describes. The leader writes and reports the result.

    Returns the exit code: 0 when done; 130 and 143 when SIGINT and SIGTERM interrupted it and the state is saved.
    """
    place = begin()
    leads = path != "-" and place.leads
    emit = emitter(leads)
    if leads:
        heard = logging.Handler(logging.WARNING)  # warnings go as events to the process that runs the pipeline
        heard.emit = lambda record: emit({"event": "warning", "message": record.getMessage()})  # type: ignore[method-assign]
        logging.getLogger("cdm_kedro").addHandler(heard)

    from cdm_kedro.data.loader import preload

    preload()

    import torch
    import torch.distributed as dist

    from cdm_kedro.training.loop import World

    threads = int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads())
    torch.set_num_threads(threads)  # set explicitly, because results depend on it to the last bit
    device = open_device(place)
    cuda = device.type == "cuda"
    torch.backends.cudnn.benchmark = cuda
    if place.size > 1:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=_WAIT)
    world = World(place.rank, place.size, device)
    text, leader = _share_job(Path(path).read_text(encoding="utf-8") if leads else None, world)
    trainer = make(text, replace(world, leader=leader), emit)
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        trainer.stop_requested = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    started, first = time.monotonic(), trainer.step
    trainer.run()
    code = 0 if trainer.finished else 128 + (received or [signal.SIGTERM])[0]
    if code:
        emit({"event": "stopped", "step": trainer.step})
    elif leads:
        facts = {
            "parameters": sum(p.numel() for p in trainer.net.parameters()),
            "device": torch.cuda.get_device_name(device) if cuda else "cpu",
            "processes": place.size,
            "threads": threads,
            "torch": str(torch.__version__),
            "seconds": round(time.monotonic() - started, 1),
            "steps_this_run": trainer.step - first,
        }
        result = trainer.finish()
        emit({"event": "done", "curve": trainer.curve, **result, "facts": facts | result.get("facts", {})})
    if place.size > 1:
        dist.barrier()
        # DDP's reducer, freed last, would join the group's threads with Python's lock, for which they may wait.
        del trainer.shared, trainer.forward
        gc.collect()
        dist.destroy_process_group()
    return code
