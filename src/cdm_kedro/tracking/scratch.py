"""Folders for unfinished work, such as checkpoints and shards."""

import os
from pathlib import Path

VARIABLE = "CDM_SCRATCH"
"""Environment variable with the folder of the stage that runs now; whoever runs the stage sets it."""


def scratch_dir(stage: str) -> Path:
    """The folder for a stage's unfinished work; it is created if need be.

    The folder belongs to the stage and to its present inputs, so that a stage with other parameters never finds old
    leftovers. It survives interruptions and is removed when the stage succeeds.
    """
    folder = Path(os.environ.get(VARIABLE) or Path(".scratch", stage, "adhoc"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
