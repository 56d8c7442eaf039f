"""Selection of weights: which of a training's averages makes the best samples (section 4)."""

import importlib
from pathlib import Path

from torch import Tensor

from cdm_kedro.files.tensors import write_weights
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.loop import World

Scores = list[tuple[int, float]]  # step and score of each average that was scored; low scores are good


def best(scores: Scores) -> tuple[int, float]:
    """Return step and score of the best average, which is the earliest of equals."""
    return min(scores, key=lambda pair: (pair[1], pair[0]))


class Selection:
    """Holds the selector that a job names, and keeps the best averages on disk.

    A selector has a ``name``, and a method ``score(weights)`` that returns the same on every process.
    """

    def __init__(self, job: TrainingJob, world: World) -> None:
        wanted = job.training.selection
        if wanted is None or job.selector is None:
            raise ValueError("training.selection is given, but the job names no selector")
        # By name, so that a training without selection does not depend on the selector's code.
        self.selector = importlib.import_module(job.selector).Selector(job, world)
        self.every, self.patience, self.folder = wanted.every, wanted.patience, Path(job.workdir)

    def out_of_patience(self, scores: Scores) -> bool:
        """Tell whether as many scores as ``patience`` have come after the best one."""
        return bool(self.patience and scores and sum(step > best(scores)[0] for step, _ in scores) >= self.patience)

    def keep(self, step: int, weights: dict[str, Tensor]) -> None:
        """Write the average of a step, which is the best so far."""
        write_weights(self._file(step), weights, {})

    def prune(self) -> None:
        """Delete all averages but the last two. The checkpoint before the newest one may name the older of them."""
        for old in sorted(self.folder.glob("best_*.safetensors"))[:-2]:
            old.unlink()

    def best_file(self, scores: Scores) -> Path:
        """Return the file of the best average. Raise FileNotFoundError if it is gone."""
        file = self._file(best(scores)[0])
        if not file.exists():
            raise FileNotFoundError(
                f"{file}: the best weights so far are gone, though the checkpoint knows of them; restore the file, or "
                f"delete {self.folder / 'checkpoints'} to start anew"
            )
        return file

    def _file(self, step: int) -> Path:
        return self.folder / f"best_{step:09d}.safetensors"
