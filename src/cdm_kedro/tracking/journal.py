"""Operations that no server took, kept in files until `kedro replay-runs` delivers them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from cdm_kedro.files.atomic import write_text
from cdm_kedro.tracking.delivery import Deliverer, Operation, default_tracking_uri

UNLOGGED = Path(".scratch/unlogged")
"""The journals' folder in the project: one file of JSON lines for each process that lost its server."""


class Journal:
    """The journal of this process; its file comes into being with the first operation.

    Args:
        root: project folder.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / UNLOGGED / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"

    def append(self, operation: Operation, ids: Mapping[str, str]) -> None:
        """Keep an operation; runs that the server has are written with its ids (``ids``: our name to MLflow's id)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(operation, ids))


def _line(operation: Operation, ids: Mapping[str, str]) -> str:
    known = {key: ids.get(operation[key], operation[key]) for key in ("run", "parent") if operation.get(key)}
    return json.dumps({**operation, **known}) + "\n"


def replay(root: Path) -> int:
    """Deliver every journal of a project, oldest first; what the server does not take stays in its journal.

    Returns:
        How many operations were delivered.
    """
    count = 0
    for path in sorted((root / UNLOGGED).glob("*.jsonl")):
        deliverer = Deliverer(default_tracking_uri(root), root / "mlruns")
        waiting = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        try:
            while waiting:
                deliverer.apply(waiting[0])
                waiting.pop(0)
                count += 1
        finally:
            if waiting:
                write_text(path, "".join(_line(operation, deliverer.ids) for operation in waiting))
        path.unlink()
    return count
