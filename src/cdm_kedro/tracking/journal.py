"""Operations that no server took, kept in files until `kedro replay-runs` delivers them."""

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.links import link_or_copy
from cdm_kedro.tracking.delivery import Deliverer, RefusedError, default_tracking_uri
from cdm_kedro.tracking.registry import Operation

UNLOGGED = Path(".scratch/unlogged")
"""The journals' folder in the project: one file of JSON lines for each process that lost its server."""


class Journal:
    """The journal of this process; its file comes into being with the first operation."""

    def __init__(self, root: Path) -> None:
        self.path = root / UNLOGGED / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"
        self._count = 0

    def append(self, operation: Operation, ids: Mapping[str, str]) -> None:
        """Keep an operation and its files, whatever is trained later.

        ``ids``: our name of a run to MLflow's id, for the runs that the server has.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._count += 1
        kept = _with_files(operation, self.path.with_suffix("") / str(self._count))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(kept, ids))


def _with_files(operation: Operation, place: Path) -> Operation:
    """The operation with its files under second names in ``place``."""
    kept = dict(operation)
    if operation["op"] == "artifact" and Path(operation["path"]).exists():
        kept["path"] = str(place / Path(operation["path"]).name)
        link_or_copy(Path(operation["path"]), Path(kept["path"]))
    elif operation["op"] == "model":
        if operation["folder"]:
            kept["folder"] = str(place / "folder")
            shutil.copytree(operation["folder"], kept["folder"])
        kept["files"] = {inside: str(place / "files" / inside) for inside in operation["files"]}
        for inside, path in operation["files"].items():
            link_or_copy(Path(path), Path(kept["files"][inside]))
    return kept


def _line(operation: Operation, ids: Mapping[str, str]) -> str:
    known = {key: ids.get(operation[key], operation[key]) for key in ("run", "parent") if operation.get(key)}
    return json.dumps({**operation, **known}) + "\n"


def replay(root: Path) -> tuple[int, list[str]]:
    """Deliver every journal of a project, oldest first; what a server refuses is set aside and holds up nothing else.

    Returns how many operations were delivered, and what was refused with the server's words, which is in ``*.refused``
    now. Raises what MLflow's client raises where no server answers; the journals keep what is left.
    """
    delivered, refused = 0, list[str]()
    for path in sorted((root / UNLOGGED).glob("*.jsonl")):
        deliverer = Deliverer(default_tracking_uri(root), root / "mlruns")
        waiting = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        aside: list[Operation] = []
        try:
            while waiting:
                orphan = waiting[0]["run"] in deliverer.refused
                try:
                    deliverer.apply(waiting[0])
                    delivered += not orphan
                except Exception as error:
                    if not isinstance(error, RefusedError):
                        deliverer.check()  # where it answers, this operation is what it fails at
                    refused.append(str(error))
                    orphan = True
                aside += waiting[:1] if orphan else []
                waiting.pop(0)
        finally:
            for kept, file in ((waiting, path), (aside, path.with_suffix(".refused"))):
                if kept:
                    write_text(file, "".join(_line(operation, deliverer.ids) for operation in kept))
        path.unlink()
        if not aside:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    return delivered, refused
