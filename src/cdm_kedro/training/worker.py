"""The training process: ``python -m cdm_kedro.training.worker job.json``, alone or under torchrun.

Rank 0 prints one JSON object a line on standard output. Exit codes: 0 done; 130 and 143 interrupted by SIGINT and
SIGTERM with the state saved; 1 failed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _emitter(rank: int) -> Any:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print goes to stderr

    def emit(event: dict[str, Any]) -> None:
        if rank == 0:
            out.write(json.dumps(event) + "\n")

    return emit


def write_weights(path: Path, tensors: dict[str, Any], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically."""
    from safetensors.torch import save_file

    part = path.with_name(path.name + ".part")
    save_file({k: v.detach().float().cpu().contiguous() for k, v in tensors.items()}, part, metadata)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def main(path: str) -> int:
    """Run the job described in a file."""
    _die_with_parent()
    rank, size, local = (
        int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    emit = _emitter(rank)

    from cdm_kedro.data.loader import preload
    from cdm_kedro.training.job import TrainingJob

    preload()
    job = TrainingJob.model_validate_json(Path(path).read_text(encoding="utf-8"))

    import torch
    import torch.distributed as dist

    from cdm_kedro.training.trainer import Trainer, World

    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    if size > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    trainer = Trainer(job, World(rank, size, device), emit)
    received: list[int] = []

    def on_signal(number: int, _: Any) -> None:
        received.append(number)
        if rank == 0:  # the others hold the same state and are ended by torchrun
            trainer.stop_requested = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    parameters = sum(p.numel() for p in trainer.net.parameters())
    emit(
        {
            "event": "start",
            "parameters": parameters,
            "device": str(device),
            "processes": size,
            "steps": job.params.training.steps,
        }
    )
    started, first = time.monotonic(), trainer.step
    trainer.run()
    if trainer.stop_requested and trainer.step < job.params.training.steps:
        emit({"event": "stopped", "step": trainer.step})
        return 128 + received[0]
    if rank == 0:
        seconds = time.monotonic() - started
        out = Path(job.workdir) / f"{job.stage}.safetensors"
        description = {"stage": job.stage, "num_classes": str(job.num_classes), "params": job.params.model_dump_json()}
        write_weights(out, trainer.ema.state_dict(), description)
        done = {
            "parameters": parameters,
            "device": torch.cuda.get_device_name(device) if cuda else "cpu",
            "processes": size,
            "torch": str(torch.__version__),
            "seconds": round(seconds, 1),
            "steps_this_run": trainer.step - first,
        }
        emit({"event": "done", "weights": str(out), "curve": trainer.curve, "facts": done})
    if size > 1:
        dist.barrier()
        dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # FFCV's daemon threads may not outlive the interpreter's clean-up
