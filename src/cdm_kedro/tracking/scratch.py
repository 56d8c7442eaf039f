"""Folders for unfinished work, such as checkpoints and shards."""

import os
import socket
from pathlib import Path

VARIABLE = "CDM_SCRATCH"
"""Environment variable with the folder of the stage that runs now; whoever runs the stage sets it."""


def process_dir(root: Path = Path()) -> Path:
    """The folder of what belongs to this process alone; a process that is killed leaves it behind."""
    return root / ".scratch/processes" / socket.gethostname() / str(os.getpid())  # machines may share the disk


def of_killed(root: Path) -> list[Path]:
    """Folders of processes of this machine that were killed. To be asked before this process makes its own."""
    import psutil

    folders = [folder for folder in process_dir(root).parent.glob("*") if folder.name.isdecimal()]
    return [folder for folder in folders if int(folder.name) == os.getpid() or not psutil.pid_exists(int(folder.name))]


def scratch_dir(stage: str) -> Path:
    """The folder for a stage's unfinished work; it is created if need be.

    The folder belongs to the stage and to its present inputs, so that a stage with other parameters never finds old
    leftovers. It survives interruptions and is removed when the stage succeeds. Where nobody runs stages, as with
    `kedro run --runner=ThreadRunner`, it belongs to this process.
    """
    folder = Path(os.environ.get(VARIABLE) or process_dir() / stage)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
