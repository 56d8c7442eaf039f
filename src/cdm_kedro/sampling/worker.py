"""A sampling process: ``python -m cdm_kedro.sampling.worker job.json``, alone or under torchrun on any number of nodes.

Every process makes its own shards and talks to no other; each prints JSON objects, one a line, on standard output.
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

_EVERY = 0.5  # seconds between progress lines


def _emitter() -> Any:
    out = os.dup(1)
    os.dup2(2, 1)  # whatever libraries print goes to stderr

    def emit(**event: Any) -> None:
        os.write(out, (json.dumps(event) + "\n").encode())  # one short write: lines of several processes do not mix

    return emit


def main(path: str) -> None:
    """Make the shards that fall to this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the parent
    rank, size, local = (
        int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    emit = _emitter()

    import torch

    from cdm_kedro.sampling.job import SamplingJob, make_shards, open_cascade

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    job = SamplingJob.model_validate_json(Path(path).read_text(encoding="utf-8"))
    waiting, last = 0.0, time.monotonic()

    def progress(name: str, images: float) -> None:
        nonlocal waiting, last
        waiting += images
        if time.monotonic() - last > _EVERY:
            emit(event="progress", stage=name, images=waiting)
            waiting, last = 0.0, time.monotonic()

    made = make_shards(job, open_cascade(job, device), progress, rank, size)
    emit(event="progress", stage="", images=waiting)
    emit(event="done", made=made)


if __name__ == "__main__":
    main(sys.argv[1])
