"""Folders for unfinished work, one a stage and stage key, so that changed parameters never meet old leftovers."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CDM_SCRATCH"


def scratch_dir(stage: str) -> Path:
    """An existing folder private to the stage and its inputs; it survives kills and goes when the stage succeeds.

    Args:
        stage: name of the stage.
    """
    base = os.environ.get(VARIABLE)
    folder = Path(base) if base else Path(".scratch", stage, "adhoc")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
