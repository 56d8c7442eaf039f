"""A process that makes features: ``python -m cdm_kedro.evaluation.worker job.pickle``, alone or with others."""

import pickle
from pathlib import Path

from cdm_kedro.processes.shards import Progress, be_worker
from cdm_kedro.processes.worker import Place, open_device


def make(file: Path, place: Place, progress: Progress) -> int:
    """Make the blocks that fall to this process and return the number of images in them."""
    from cdm_kedro.evaluation.features import FeatureJob, make_blocks

    job: FeatureJob = pickle.loads(file.read_bytes())
    assert job.remake is not None
    return make_blocks(job, job.remake(open_device(place)), lambda n: progress("", n), place.rank, place.size)


if __name__ == "__main__":
    be_worker(make)
