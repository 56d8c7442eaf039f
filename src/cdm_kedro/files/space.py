"""Room on a disk: said in a sentence when it ends."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cdm_kedro.errors import CdmError


class DiskFullError(CdmError, OSError):
    """A file system without room for what is written; the message names the folder."""


@contextmanager
def disk_full_explained(folder: Path, needed: int = 0, kept: str = "Nothing unfinished was kept") -> Iterator[None]:
    """Turn the system's error for a full disk, or a used-up quota, into a sentence.

    The block writes to ``folder``, which exists, and needs so many bytes, 0 where that is not known. Raises
    DiskFullError in place of the system's error; its message says what is ``kept``.
    """
    free = shutil.disk_usage(folder).free
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        wanted = f"{needed / 1e9:.3g} GB are needed and " if needed else ""
        raise DiskFullError(
            f"{folder}: no space left on its file system ({wanted}{free / 1e9:.3g} GB were free at the start). "
            f"{kept}; make room and run again."
        ) from None
