"""A process that makes features: ``python -m cdm_kedro.evaluation.worker job.pickle``, alone or with others."""

import pickle
import sys
from pathlib import Path

from cdm_kedro.processes.worker import begin, emitter, open_device


def main(path: str) -> None:
    """Make the blocks that fall to this process."""
    place = begin()
    emit = emitter(True)

    from cdm_kedro.evaluation.features import FeatureJob, make_blocks

    job: FeatureJob = pickle.loads(Path(path).read_bytes())
    assert job.remake is not None

    def progress(images: int) -> None:
        emit({"event": "progress", "stage": "", "images": images})

    made = make_blocks(job, job.remake(open_device(place)), progress, place.rank, place.size)
    emit({"event": "done", "made": made})


if __name__ == "__main__":
    main(sys.argv[1])
