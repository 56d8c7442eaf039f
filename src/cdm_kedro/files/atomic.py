"""Files that exist whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; after the block that file is flushed to disk and takes the name.

    A block that raises leaves ``path`` as it was, and no other file. Folders on the way are created. Two processes may
    write the same file at once, as a killed run's worker does that lives on for a moment: the last to finish wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)  # the folder's list of names; else the new one may go with the power
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")
