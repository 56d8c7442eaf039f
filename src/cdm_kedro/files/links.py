"""Second names of files.

What a stage has just made keeps one until the stage is recorded: `dvc repro` removes a stage's outputs before it runs
the stage again. What was made and not yet recorded when a process was killed comes back by its second name.
"""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cdm_kedro.files.atomic import write_text

_LIST = "outputs.json"


def keep(folder: Path, outputs: Sequence[Path]) -> None:
    """Give complete files and folders hard links in a folder; on a file system without them this does nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with suppress(OSError):
        for i, path in enumerate(outputs):
            _link(path, folder / str(i))
        write_text(folder / _LIST, json.dumps([str(path) for path in outputs]))


def put_back(folder: Path, outputs: Sequence[Path]) -> bool:
    """Put outputs that were kept in a folder back in their places; returns whether all of them were there."""
    known = None
    with suppress(OSError, ValueError):
        known = json.loads((folder / _LIST).read_text(encoding="utf-8"))
    if known != [str(path) for path in outputs]:
        return False
    for i, path in enumerate(outputs):
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(folder / str(i), path)
    return True


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, where there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link)
    else:
        os.link(source, target)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file's content a second name, as a copy where that is on another disk.

    Nobody in this project writes into a finished file; a new file takes its name, and the second name keeps the old.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
