"""A sampling process: ``python -m cdm_kedro.sampling.worker job.json``, alone or under torchrun on any number of nodes.

Every process makes its own shards and talks to no other. It prints its events on standard output, as JSON objects of
one line each.
"""

import sys
import time
from pathlib import Path

from cdm_kedro.processes.worker import begin, emitter, open_device

_EVERY = 0.5  # seconds between progress lines


def main(path: str) -> None:
    """Make the shards that fall to this process."""
    place = begin()
    emit = emitter(True)

    from cdm_kedro.sampling.job import SamplingJob, make_shards, open_cascade

    device = open_device(place)
    job = SamplingJob.model_validate_json(Path(path).read_text(encoding="utf-8"))
    waiting, last = 0.0, time.monotonic()

    def progress(name: str, images: float) -> None:
        nonlocal waiting, last
        waiting += images
        if time.monotonic() - last > _EVERY:
            emit({"event": "progress", "stage": name, "images": waiting})
            waiting, last = 0.0, time.monotonic()

    made = make_shards(job, open_cascade(job, device), progress, place.rank, place.size)
    emit({"event": "progress", "stage": "", "images": waiting})
    emit({"event": "done", "made": made})


if __name__ == "__main__":
    main(sys.argv[1])
