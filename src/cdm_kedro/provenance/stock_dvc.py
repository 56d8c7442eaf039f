"""What this package changes in DVC, which has no plug-ins: records written whole, and waiting instead of refusing."""

import copy
import functools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, TypeVar

from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import written_whole
from cdm_kedro.provenance import lockfile, locks

T = TypeVar("T")


def careful() -> None:
    """Let DVC, in this process, write dvc.lock and its table of who uses which file whole or not at all.

    Entries of that table count only while the process that wrote them lives.
    """
    from dvc import rwlock
    from dvc_objects.fs.local import FsspecLocalFileSystem

    FsspecLocalFileSystem.open = _open  # type: ignore[method-assign]
    rwlock.psutil = SimpleNamespace(pid_exists=locks.lives)


def _open(self: Any, path: str, mode: str = "r", encoding: str | None = None, **_: Any) -> Any:
    record = mode.startswith("w") and Path(path).name in ("dvc.lock", "rwlock")
    return _opened_whole(Path(path)) if record else open(path, mode, encoding=encoding)


@contextmanager
def _opened_whole(path: Path) -> Iterator[IO[str]]:
    with written_whole(path) as part, part.open("w", encoding="utf-8") as file:
        yield file


@functools.cache
def parse_once() -> None:
    """Let DVC, in this process, parse a YAML text once: it parses all of dvc.lock for each look at a stage."""
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    parse = _yaml.parse_yaml
    once = functools.lru_cache(maxsize=32)(parse)

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        plain = typ == "safe" or Path(path).name == "dvc.lock"  # DVC alone writes it: no comments are to be kept
        return copy.deepcopy(once(text, path)) if plain else parse(text, path, typ)

    strictyaml.parse_yaml = _yaml.parse_yaml = parse_yaml


@functools.cache  # a virtual environment's start-up files are read twice
def as_program() -> None:
    """Make the program `dvc` as careful as `kedro run`; ``packaging/startup.py`` calls this where that program starts.

    It mends dvc.lock before it reads it. It waits for DVC's lock, and for another run of a stage that it is to change;
    it says once who is in the way. After ``CDM_WAIT`` seconds it ends with an error. Experiments and locks that are
    hard links (``core.hardlink_lock``) keep DVC's own ways.
    """
    from dvc import lock, rwlock
    from dvc.exceptions import DvcException

    careful()
    locks.log.addHandler(logging.StreamHandler())
    locks.log.setLevel(logging.INFO)
    stock_lock, stock_rwlock = lock.Lock.lock, rwlock.rwlock
    held: dict[Path, Any] = {}

    def wait(attempt: Callable[[], T], who: Callable[[Exception], list[int]], what: str, rest: Any = time.sleep) -> T:
        try:
            return locks.patiently(attempt, lock.LockError, who, what, rest)
        except CdmError as error:
            raise DvcException(str(error)) from None

    def take(self: Any) -> None:
        path = Path(self._lockfile)
        if path.name not in ("lock", "rwlock.lock"):
            return stock_lock(self)
        self._wait = False  # with `--wait-for-lock` DVC waits without a word
        wait(lambda: stock_lock(self), lambda _: locks.holder(path), "this project's records")
        if path.name == "lock":
            held[path] = self
            root = path.parents[2]
            try:
                for record in (root / "dvc.lock", *root.glob("dvc/**/dvc.lock")):
                    lockfile.mend(record, root)
            except CdmError as error:
                raise DvcException(str(error)) from None

    @contextmanager
    def files(*args: Any) -> Iterator[None]:
        mine: Any = held.get(Path(args[0], "lock"))

        def rest(seconds: float) -> None:  # who runs the stage needs the project's lock to record it
            mine.unlock()
            try:
                time.sleep(seconds)
            finally:
                mine.lock()

        with ExitStack() as taken:
            attempt = lambda: taken.enter_context(stock_rwlock(*args))  # noqa: E731
            # What writes none, like `dvc status`, is told at once that somebody is at work.
            if not args[4] or mine is None or not mine.is_locked or sys.argv[1:2] == ["exp"]:
                attempt()
            else:
                wait(attempt, locks.blockers, "files of a stage", rest)
            yield

    lock.Lock.lock, rwlock.rwlock = take, files
