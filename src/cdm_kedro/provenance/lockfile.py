"""dvc.lock as a file: a good copy is kept, and a file that cannot be read is replaced by it."""

import logging
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import written_whole

log = logging.getLogger(__name__)


def mend(lock: Path, root: Path) -> None:
    """Keep a copy of a dvc.lock that can be read; replace one that cannot be read by its last good copy.

    A DVC outside this package's environment writes the file in place and leaves a part of it when it is killed then.
    The stages that the copy does not know yet come back from DVC's run cache.
    Raises CdmError if there is no copy, or the file holds the marks of a merge.
    """
    name = shlex.quote(str(lock.relative_to(root)))
    spare = root / ".dvc/tmp/cdm" / lock.relative_to(root)
    here, kept = (path.stat() if path.exists() else None for path in (lock, spare))
    if here is None or (kept and (here.st_mtime_ns, here.st_size) == (kept.st_mtime_ns, kept.st_size)):
        return
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    text = lock.read_text(encoding="utf-8", errors="replace")
    if "\n<<<<<<< " in f"\n{text}":
        raise CdmError(
            f"{name} holds the marks of an unfinished merge. Take one side with `git checkout --ours {name}` (or "
            "--theirs) and run again: stages of the other side come back from DVC's run cache"
        )
    try:
        good = bool(COMPILED_LOCKFILE_SCHEMA(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))))
    except (yaml.YAMLError, Invalid):
        good = False
    if good:
        with suppress(OSError), written_whole(spare) as part:  # on a full disk, `dvc gc` must go on
            shutil.copy2(lock, part)
        return
    if kept is None:
        raise CdmError(
            f"{name} cannot be read. `git checkout {name}` brings back the committed one, or delete it; then run "
            "again: stages come back from DVC's run cache"
        )
    with written_whole(lock) as part:
        shutil.copy2(spare, part)
    log.warning("%s could not be read (was a process killed?); it is the last good copy again", name)
