"""Second names of files."""

import os
import shutil
from pathlib import Path


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file's content a second name, as a copy where that is on another disk.

    Nobody in this project writes into a finished file; a new file takes its name, and the second name keeps the old.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
