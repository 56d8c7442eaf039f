"""How long the stages of an environment take: what former runs took, and what `kedro estimate` expects."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from cdm_kedro.files.atomic import write_text

after: float | None = None  # seconds that the stages after the one in progress will take; None where nobody knows


class Durations:
    """Seconds by stage, in ``.scratch/<environment>/durations.json``, each with the number of images that took them."""

    def __init__(self, root: Path, env: str | None) -> None:
        self.path, self.known = root / ".scratch" / (env or "base") / "durations.json", dict[str, list[float]]()
        with suppress(OSError, ValueError):
            self.known = json.loads(self.path.read_text(encoding="utf-8"))

    def note(self, stage: str, seconds: float, params: Any) -> None:
        """Remember how long a stage took with its parameters."""
        self.known[stage] = [seconds, _images(params)]
        write_text(self.path, json.dumps(self.known))

    def expected(self, stage: str, params: Any) -> float | None:
        """Seconds that a stage will take with its parameters; None where it never ran."""
        seconds, images = self.known.get(stage, (None, 1.0))
        return None if seconds is None else seconds * _images(params) / images


def _images(params: Any) -> float:  # those that a training sees, that sampling makes; 1 for other stages
    training = getattr(params, "training", None)
    return float(training.steps * training.batch_size if training else getattr(params, "num_samples", 1))


def readable(seconds: float) -> str:
    """A duration in the largest unit that keeps it above one and a half: "40 s", "12 min", "3.2 h", "2.5 days"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{0 if unit == 'min' else 1}f} {unit}"
    return f"{seconds:.0f} s"
