"""Places that cannot be written: looked at before the work, and said in a sentence where they show in it."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cdm_kedro.errors import CdmError

_SAID = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no space left on its file system; make room and run again"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "can only be read; make it writable"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file, where a folder belongs; move it away"),
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "a folder, where a file belongs; move it away",
    errno.ELOOP: "a link that leads to itself; remove it",
    errno.ENAMETOOLONG: "a name that is too long for its file system",
}


def said_of(error: OSError) -> str | None:
    """Say an error of the system about a path; None where it is not about one, or none that a user can mend."""
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        _, path, text = error.args[0][0]  # the first file of a folder that was copied
        return next((f"{path}: {said}" for code, said in _SAID.items() if os.strerror(code) in text), None)
    said, path = _SAID.get(error.errno or 0), error.filename2 or error.filename
    if error.errno == errno.ENOENT and isinstance(path, str) and (link := _broken_link(Path(path))):
        return link
    return f"{path}: {said}" if said and path else None


def _broken_link(path: Path) -> str | None:
    for place in (path, *path.parents):
        if place.is_symlink() and not place.exists():
            return f"{place}: a link that leads nowhere (to {os.readlink(place)}); repair or remove it"
    return None


def refuse_unwritable(paths: Iterable[Path]) -> None:
    """Raise CdmError if a file or folder cannot be made: broken links, files and folders without leave in its way."""
    for path in paths:
        if link := _broken_link(path):
            raise CdmError(link)
        place = next(place for place in (path, *path.parents) if place.exists())
        if place != path and not place.is_dir():
            raise CdmError(f"{place}: {_SAID[errno.ENOTDIR]}")
        if not os.access(place, os.W_OK):
            raise CdmError(f"{place}: {_SAID[errno.EROFS]}")


@contextmanager
def disk_full_explained(folder: Path, needed: int = 0, kept: str = "Nothing unfinished was kept") -> Iterator[None]:
    """Turn the system's error for a full disk, or a used-up quota, into a sentence.

    The block writes to ``folder``, which exists, and needs so many bytes, 0 where that is not known. Raises
    CdmError in place of the system's error; its message says what is ``kept``.
    """
    free = shutil.disk_usage(folder).free
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) and os.strerror(errno.ENOSPC) not in str(error):
            raise  # a folder that is copied raises shutil.Error, whose text has that of every file
        wanted = f"{needed / 1e9:.3g} GB are needed and " if needed else ""
        raise CdmError(
            f"{folder}: no space left on its file system ({wanted}{free / 1e9:.3g} GB were free at the start). "
            f"{kept}; make room and run again."
        ) from None
