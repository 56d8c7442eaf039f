"""dvc.lock as a file: DVC writes it whole; a good copy is kept, and a file that cannot be read is replaced by it."""

import copy
import functools
import logging
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import written_whole

log = logging.getLogger(__name__)


def whole_in_dvc() -> dict[str, str]:
    """Let DVC, where it runs in this process, write dvc.lock and its table of who uses which file whole or not at all.

    `dvc repro` calls this too: DVC has no plug-ins of its own, but it imports networkx before it writes, and networkx
    calls what ``pyproject.toml`` names as a backend. It gets an empty answer, for this is none.
    """
    if "dvc" in sys.modules:
        from dvc_objects.fs.local import FsspecLocalFileSystem

        FsspecLocalFileSystem.open = _open  # type: ignore[method-assign]
    return {}


@functools.cache
def parsed_once_in_dvc() -> None:
    """Let DVC, in this process, parse a YAML text once: it parses all of dvc.lock for each look at a stage."""
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    parse = _yaml.parse_yaml
    once = functools.lru_cache(maxsize=32)(parse)

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        plain = typ == "safe" or Path(path).name == "dvc.lock"  # DVC alone writes it: no comments are to be kept
        return copy.deepcopy(once(text, path)) if plain else parse(text, path, typ)

    strictyaml.parse_yaml = _yaml.parse_yaml = parse_yaml


def _open(self: Any, path: str, mode: str = "r", encoding: str | None = None, **_: Any) -> Any:
    record = mode.startswith("w") and Path(path).name in ("dvc.lock", "rwlock")
    return _opened_whole(Path(path)) if record else open(path, mode, encoding=encoding)


@contextmanager
def _opened_whole(path: Path) -> Iterator[IO[str]]:
    with written_whole(path) as part, part.open("w", encoding="utf-8") as file:
        yield file


def mend(lock: Path, root: Path, valid: Callable[[object], bool]) -> None:
    """Keep a copy of a dvc.lock that can be read; replace one that cannot be read by its last good copy.

    A DVC outside this package's environment writes the file in place and leaves a part of it when it is killed then.
    The stages that the copy does not know yet come back from DVC's run cache. ``valid`` says whether DVC can work with
    a file's content.
    Raises CdmError if there is no copy, or the file holds the marks of a merge.
    """
    import yaml

    name = shlex.quote(str(lock.relative_to(root)))
    spare = root / ".dvc/tmp/cdm" / lock.relative_to(root)
    here, kept = (path.stat() if path.exists() else None for path in (lock, spare))
    if here is None or (kept and (here.st_mtime_ns, here.st_size) == (kept.st_mtime_ns, kept.st_size)):
        return
    text = lock.read_text(encoding="utf-8", errors="replace")
    if "\n<<<<<<< " in f"\n{text}":
        raise CdmError(
            f"{name} holds the marks of an unfinished merge. Take one side with `git checkout --ours {name}` (or "
            "--theirs) and run again: stages of the other side come back from DVC's run cache"
        )
    try:
        good = valid(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError:
        good = False
    if good:
        with written_whole(spare) as part:
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
