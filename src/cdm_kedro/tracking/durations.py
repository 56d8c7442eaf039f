"""How long the stages of an environment take: what former runs took, and what `kedro estimate` expects."""

import fcntl
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from cdm_kedro.files.atomic import write_text


class Durations:
    """Seconds by stage, in ``.scratch/<environment>/durations.json``, each with the number of images that took them."""

    def __init__(self, root: Path, env: str | None) -> None:
        self.path = root / ".scratch" / (env or "base") / "durations.json"

    @property
    def known(self) -> dict[str, list[float]]:
        """What the file says now; nothing where there is none that can be read."""
        with suppress(OSError, ValueError, TypeError):
            return dict(json.loads(self.path.read_text(encoding="utf-8")))
        return {}

    def note(self, stage: str, seconds: float, params: Any) -> None:
        """Remember how long a stage took with its parameters, beside what other runs note meanwhile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            write_text(self.path, json.dumps({**self.known, stage: [seconds, _images(params)]}))

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
