"""A sampling process: ``python -m cdm_kedro.sampling.worker job.json``, alone or under torchrun on any number of nodes.

Every process makes its own shards and talks to no other.
"""

from pathlib import Path

from cdm_kedro.processes.shards import Progress, be_worker
from cdm_kedro.processes.worker import Place, open_device


def make(file: Path, place: Place, progress: Progress) -> int:
    """Make the shards that fall to this process and return the number of images in them."""
    from cdm_kedro.sampling.job import SamplingJob, make_shards, open_cascade

    job = SamplingJob.model_validate_json(file.read_text(encoding="utf-8"))
    return make_shards(job, open_cascade(job, open_device(place)), progress, place.rank, place.size)


if __name__ == "__main__":
    be_worker(make)
