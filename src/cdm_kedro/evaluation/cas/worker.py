"""The classifier's training process: ``python -m cdm_kedro.evaluation.cas.worker job.json``, alone or under torchrun.

Events and exit codes are those of :mod:`cdm_kedro.training.worker`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from cdm_kedro.training.child import die_with_parent, emitter


def main(path: str) -> int:
    """Run the job described in a file."""
    die_with_parent()
    rank, size, local = (
        int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    emit = emitter(rank == 0)

    from cdm_kedro.data.loader import preload
    from cdm_kedro.evaluation.cas.job import ClassifierJob

    preload()
    job = ClassifierJob.model_validate_json(Path(path).read_text(encoding="utf-8"))

    import torch
    import torch.distributed as dist

    from cdm_kedro.evaluation.cas.trainer import ClassifierTrainer

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    if size > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    trainer = ClassifierTrainer(job, rank, size, device, emit)
    received: list[int] = []

    def on_signal(number: int, _: Any) -> None:
        received.append(number)
        if rank == 0:  # the others hold the same state and are ended by torchrun
            trainer.stop_requested = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    started, first = time.monotonic(), trainer.step
    trainer.run()
    if trainer.stop_requested and trainer.step < job.params.steps:
        emit({"event": "stopped", "step": trainer.step})
        return 128 + received[0]
    if rank == 0:
        if job.weights is not None:
            trainer.write(Path(job.weights))
        facts = {
            "device": torch.cuda.get_device_name(device) if cuda else "cpu",
            "processes": size,
            "seconds": round(time.monotonic() - started, 1),
            "steps_this_run": trainer.step - first,
            "parameters": sum(p.numel() for p in trainer.net.parameters()),
        }
        emit({"event": "done", "counts": trainer.test(), "curve": trainer.curve, "facts": facts})
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # then torchrun shows the traceback of the process that failed first
        from torch.distributed.elastic.multiprocessing.errors import record

        main = record(main)
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # FFCV's daemon threads may not outlive the interpreter's clean-up
