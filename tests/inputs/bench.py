"""What the campaign of bad inputs works with: a case, and a project that each case has a copy of."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from project import Project, door, new_project

LINKED = 1_000_000  # bytes from which a copy of a project shares a file with it
Step = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One wrong input, or an unusual one that must work.

    Attributes:
        name: what is done.
        command: as a user types it in the project.
        said: parts of the output: file, key or path, and what to do about it.
        steps: called with the project's folder before the command.
        code: exit code.
        made: whether the tiny cascade is made before.
        env: more environment variables.
        broken: what the steps broke below the project; the command may replace it.
        works: whether the command may begin to work before it ends.
        quick: whether the case is one of the default test suite.
        limit: seconds after which it counts as hanging.
    """

    name: str
    command: str
    said: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    code: int = 1
    made: bool = False
    env: Mapping[str, str | None] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    works: bool = False
    quick: bool = False
    limit: float = 240


class Outcome(NamedTuple):
    """How a command ended: its exit code (None if it hung), what it printed, and how long it took."""

    code: int | None
    output: str
    seconds: float


def make_plain(root: Path) -> Project:
    """A project in which nothing has run."""
    return new_project(root)


def make_made(root: Path) -> Project:
    """A project whose tiny cascade is made and committed."""
    project = new_project(root)
    project.kedro()
    project("git", "add", "-A")
    project("git", "commit", "-qm", "made")
    return project


def copy_project(source: Path, target: Path) -> None:
    """Copy a project; large files get a second name instead, so that nobody may write into them in place."""

    def copy(old: str, new: str) -> None:
        if os.path.getsize(old) >= LINKED and not os.path.islink(old):
            os.link(old, new)
        else:
            shutil.copy2(old, new, follow_symlinks=False)

    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def environment(case: Case, root: Path) -> dict[str, str]:
    """The environment of a case's command."""
    env = {**Project(root).env, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", **case.env}
    return {key: value for key, value in env.items() if value is not None}


def run_by_door(case: Case, root: Path) -> Outcome:
    """Run a case's command in a project by :func:`project.door`; what hangs is killed."""
    started = time.monotonic()
    code, output = door()(shlex.split(case.command), root, environment(case, root), case.limit)
    return Outcome(code, output, time.monotonic() - started)


def run(case: Case, root: Path) -> Outcome:
    """Run a case's command in a project; what hangs is killed with all that it started."""
    started = time.monotonic()
    process = subprocess.Popen(
        shlex.split(case.command),
        cwd=root,
        env=environment(case, root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, code = process.communicate(timeout=case.limit)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, code = process.communicate()[0], None
    return Outcome(code, output.decode("utf-8", "replace"), time.monotonic() - started)


def finished(root: Path) -> dict[str, str]:
    """Hashes of what a user would miss: data, records, configuration and code."""
    found = {}
    for folder in ("data", "conf", "src", "dvc", ".dvc/cache", "dvc.lock"):
        top = root / folder
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(root).as_posix()] = hashlib.md5(path.read_bytes()).hexdigest()
    return found


def complaints(case: Case, root: Path, before: Mapping[str, str], outcome: Outcome) -> list[str]:
    """What is wrong with how a case ended; nothing where all is well."""
    code, output, seconds = outcome
    found = []
    if code is None:
        found.append(f"hung: {seconds:.0f} s")
    elif code != case.code:
        found.append(f"exit code {code}, not {case.code}")
    if "Traceback" in output:
        found.append("a traceback")
    squeezed = " ".join(output.split())
    found += [f"does not say {part!r}" for part in case.said if " ".join(part.split()) not in squeezed]
    if case.code and not case.works and ": running" in output:
        found.append("work began")
    after = finished(root)
    mine = tuple(case.broken)
    lost = [name for name, digest in before.items() if after.get(name) != digest and not name.startswith(mine or "\0")]
    if case.code == 0:  # what ran may have replaced its own outputs, but nothing goes away
        lost = [name for name in lost if name not in after]
    lost = [name for name in lost if not (name.endswith(("dvc.yaml", "dvc.lock")) and name in after)]
    if lost:
        found.append(f"lost {lost[:5]}")
    left = [path.relative_to(root).as_posix() for path in root.rglob("*.part") if ".scratch" not in path.parts]
    if left:
        found.append(f"left {left[:5]}")
    strange = {"None", "null", "~"} & set(os.listdir(root))
    if strange:
        found.append(f"made {strange}")
    return found
