"""Accidents of every kind from both doors, on the tiny cascade: what work is lost, and is the result the same?

``python tests/accidents/accidents.py [--only WORD] [--seconds 60] [--table FILE]`` needs half a minute an accident.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from project import COPIED, ROOT, Project  # noqa: E402

PARAMETERS = "conf/test/parameters.yml"
EDITS = {
    "grids": ("grids: {columns: 1}", "grids: {columns: 2}"),
    "preprocess": ("preprocess: {workers: 2", "preprocess: {workers: 2, seed: 1"),
    "base32": ("training: {steps: 6,", "training: {steps: 9, checkpoint_steps: 3,"),
    "sample": (
        "num_samples: 10\n  batch_size: 10\n  stages:",
        "num_samples: 10\n  batch_size: 10\n  seed: 1\n  stages:",
    ),
}
"""What makes a stage stale in this campaign."""
OUTPUTS = {
    "grids": "08_reporting/samples_*.png",
    "preprocess": "05_model_input/*.beton",
    "base32": "06_models/base32.safetensors",
    "sample": "07_model_output/samples_*.npz",
}
CODE = {
    "preprocess": ("data/preprocess.py", "_JOB = 32"),
    "base32": ("training/trainer.py", "from __future__ import annotations\n"),
    "sample": ("sampling/cascade.py", "from __future__ import annotations\n"),
}
OTHER = {"kedro": "dvc", "dvc": "kedro"}
STEPS = [
    ("outputs written, nothing noted", "provenance/staleness.py|keep|call"),
    ("outputs complete and kept", "provenance/finished.py|keep|return"),
    ("half of the outputs in DVC's cache", "dvc/output.py|commit|return"),
    ("in DVC's cache, not in the run cache", "dvc/stage/cache.py|save|call"),
    ("in the run cache, not in dvc.lock", "dvc/stage/cache.py|save|return"),
    ("the MLflow run not finished", "tracking/runs.py|outputs|call"),
    ("unfinished work not removed", "shutil.py|rmtree={stage}|call"),
]


class Playground:
    """A project whose tiny cascade is made, and copies of it to break."""

    def __init__(self, root: Path) -> None:
        self.made, self.work = root / "made", root / "work"
        self.project = Project(self.work)
        self.project.env["PYTHONPATH"] = os.pathsep.join([str(HERE / "inject"), str(self.work / "src")])
        if not (self.made / "ready").exists():
            shutil.rmtree(self.work, ignore_errors=True)
            for name in COPIED:
                target = self.work / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "local")
                    shutil.copytree(ROOT / name, target, ignore=ignored)
                else:
                    shutil.copy(ROOT / name, target)
            for command in ("init -q", "config user.email a@b", "config user.name t", "add -A", "commit -qm start"):
                self.project("git", *command.split())
            self.project.kedro()
            self.project("git", "add", "-A")
            self.project("git", "commit", "-qm", "made")
            (self.work / "ready").touch()
            self.work.rename(self.made)
        self._wanted: dict[str, dict[str, str]] = {}

    def reset(self) -> None:
        """The made project again."""
        shutil.rmtree(self.work, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.made), str(self.work)], check=True)

    def edit(self, stage: str) -> None:
        """Make a stage stale."""
        self.project.edit(PARAMETERS, *EDITS[stage])

    def hashes(self, stage: str) -> dict[str, str]:
        """Of a stage's outputs."""
        data = self.work / "data/env/test"
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(data.glob(OUTPUTS[stage]))}

    def wanted(self, stage: str) -> dict[str, str]:
        """Hashes of an undisturbed run of the edited stage."""
        if stage not in self._wanted:
            self.reset()
            self.edit(stage)
            self.project(*command("kedro", stage))
            self._wanted[stage] = self.hashes(stage)
        return self._wanted[stage]

    def start(self, door: str, stage: str, **env: str) -> subprocess.Popen[str]:
        """Run a stage in the background, in a session of its own."""
        log = (self.work / "accident.log").open("w")
        return subprocess.Popen(
            command(door, stage),
            cwd=self.work,
            env={**self.project.env, **env},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )

    def said(self) -> str:
        """By the command in the background."""
        return (self.work / "accident.log").read_text()

    def rest(self) -> list[psutil.Process]:
        """Processes that still work in the project."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd() == str(self.work) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def wait_until(self, condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 200) -> None:
        """Until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it never came to that:\n{self.said()}")
            time.sleep(0.05)


def command(door: str, stage: str) -> list[str]:
    """That runs a stage."""
    if door == "kedro":
        return ["kedro", "run", "--env=test", f"--pipelines={stage}"]
    return ["dvc", "repro", f"dvc/test/dvc.yaml:{stage}"]


class Row:
    """A line of the table."""

    def __init__(self, accident: str, door: str, stage: str) -> None:
        self.accident, self.door, self.stage = accident, door, stage
        self.lost, self.same, self.note = "?", False, ""

    def judge(self, ground: Playground, output: str, wanted: dict[str, str], done: bool, started: float) -> None:
        """From what the next run said.

        Args:
            ground: the playground.
            output: of the next run.
            wanted: hashes of an undisturbed run.
            done: whether the stage had finished its work when the accident came.
            started: time when the next run began.
        """
        self.same = ground.hashes(self.stage) == wanted
        ran = f"{self.stage}: running" in output
        resumed = re.search(rf"{self.stage}: resuming at step (\d+) of (\d+)", output)
        if not ran:
            self.lost = "none"
        elif resumed:
            self.lost = "none" if done and resumed[1] == resumed[2] else "since the last checkpoint"
            self.note += f" resumed at step {resumed[1]} of {resumed[2]}"
        else:
            self.lost = f"{time.monotonic() - started:.0f} s" if done else "the stage's beginning"

    def line(self) -> str:
        """Of Markdown."""
        same = "equal" if self.same else "DIFFERENT"
        return f"| {self.accident} | {self.door} | {self.stage} | {self.lost} | {same} | {self.note.strip()} |"


def again(ground: Playground, row: Row, door: str, done: bool) -> None:
    """The next run, from a door; the stage must then be fresh from both."""
    wanted = ground._wanted[row.stage]
    started = time.monotonic()
    output = ground.project(*command(door, row.stage))
    row.judge(ground, output, wanted, done, started)
    assert "up to date" in ground.project("dvc", "status", f"dvc/test/dvc.yaml:{row.stage}"), output
    left = [p.cmdline() for p in ground.rest()]
    assert not left, left


def killed_at(ground: Playground, door: str, stage: str, title: str, where: str) -> Row:
    """SIGKILL of kedro at a step of a stage's end."""
    row = Row(f"SIGKILL: {title}", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage, ACCIDENT=f"kedro|{where.format(stage=stage)}|kill")
    code = process.wait(300)
    assert code != 0 and ("killed" in ground.said().lower() or code in (-9, 255, 1)), ground.said()
    again(ground, row, OTHER[door] if random.random() < 0.5 else door, done=True)
    return row


def killed_somewhere(ground: Playground, door: str, stage: str, after: float) -> Row:
    """SIGKILL of the command at a random moment."""
    row = Row(f"SIGKILL after {after:.0f} s", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage)
    with suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 90
    while ground.rest() and time.monotonic() < deadline:
        time.sleep(0.2)
    row.note = f"all its processes gone after {time.monotonic() - deadline + 90:.0f} s" if not ground.rest() else "LEFT"
    again(ground, row, random.choice(["kedro", "dvc"]), done=False)
    return row


def lone_kill(ground: Playground, door: str, stage: str, which: str) -> Row:
    """SIGKILL of one process of the tree; all others must end, and the next run goes on."""
    row = Row(f"lone SIGKILL of {which}", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage)

    def victim() -> psutil.Process | None:
        for child in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with suppress(psutil.Error):
                words = " ".join(child.cmdline())
                if re.search(which, words) and f"{stage}: running" in ground.said():
                    return child
        return None

    ground.wait_until(victim, process)
    time.sleep(1)
    found = victim()
    if found is not None:
        found.kill()
    began = time.monotonic()
    while ground.rest() and time.monotonic() - began < 90:
        time.sleep(0.2)
        process.poll()
    row.note = "LEFT" if ground.rest() else f"all gone after {time.monotonic() - began:.0f} s"
    for left in ground.rest():
        left.kill()
    process.wait()
    again(ground, row, OTHER[door], done=False)
    return row


def locked(ground: Playground, door: str, stage: str, where: str, seconds: float) -> Row:
    """DVC's lock is held: from the beginning, or when the stage ends."""
    row = Row(f"DVC's lock held for {seconds:.0f} s at the {where}", door, stage)
    ground.edit(stage)
    hold = "import sys, time, zc.lockfile; lock = zc.lockfile.LockFile('.dvc/tmp/lock'); print(1, flush=True); "
    hold += "time.sleep(float(sys.argv[1]))"

    def holder() -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-c", hold, str(seconds)],
            cwd=ground.work,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert started.stdout is not None and started.stdout.readline()
        return started

    if where == "beginning":
        held = holder()
        process = ground.start(door, stage)
    else:
        process = ground.start(door, stage)
        ground.wait_until(lambda: f"{stage}: running" in ground.said(), process)
        time.sleep(1)
        held = holder()
    code = process.wait(300)
    held.wait()
    said = re.findall(r"waiting for .* holds", ground.said())
    row.note = f"exit code {code}; said so {len(said)} time(s)"
    if code == 0:
        row.judge(ground, "", ground._wanted[stage], True, time.monotonic())
    else:
        again(ground, row, door, done=where == "end")
    return row


def meanwhile(ground: Playground, door: str, stage: str, other: list[str]) -> Row:
    """Another DVC command while a stage runs and ends."""
    row = Row(f"`{' '.join(other)}` again and again", door, stage)
    ground.project("dvc", "remote", "add", "-d", "-f", "here", str(ground.work.parent / "remote"))
    ground.edit(stage)
    process = ground.start(door, stage)
    codes = []
    while process.poll() is None:
        codes.append(subprocess.run(other, cwd=ground.work, env=ground.project.env, capture_output=True).returncode)
    row.note = f"exit code {process.returncode}; the other ran {len(codes)} times"
    if process.returncode == 0:
        row.judge(ground, "", ground._wanted[stage], True, time.monotonic())
    else:
        again(ground, row, door, done=True)
    return row


def edited(ground: Playground, door: str, stage: str, what: str) -> Row:
    """An edit while a stage runs. Its result is kept, whatever is edited."""
    row = Row(f"edit of a {what} while it runs", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage)
    ground.wait_until(lambda: f"{stage}: running" in ground.said(), process)
    time.sleep(0.5)
    path, anchor = CODE[stage]
    file = ground.work / "src/cdm_kedro" / path
    before = file.read_text()
    parameters = (ground.work / PARAMETERS).read_text()
    if what == "parameter" or what == "parameter, and an undo":
        old, new = EDITS[stage][1], EDITS[stage][1].replace("steps: 9", "steps: 8").replace("seed: 1", "seed: 2")
        ground.project.edit(PARAMETERS, old, new)
    elif what == "comment":
        file.write_text(before + "# a comment\n")
    elif what == "docstring":
        file.write_text(before.replace('"""', '"""Newly: ', 1))
    else:
        file.write_text(before.replace(anchor, anchor + "\nEDITED = True\n", 1))
    if "undo" in what:
        time.sleep(0.5)
        file.write_text(before)
        (ground.work / PARAMETERS).write_text(parameters)
    code = process.wait(300)
    row.note = f"exit code {code}"
    file.write_text(before)
    (ground.work / PARAMETERS).write_text(parameters)
    again(ground, row, OTHER[door], done=True)
    return row


def cache_removed(ground: Playground, door: str, stage: str) -> Row:
    """DVC's cache is gone; the outputs on disk are the recorded ones."""
    row = Row("the cache removed", door, stage)
    ground.edit(stage)
    ground.project(*command("kedro", stage))
    for path in (ground.work / "data/env/test").rglob("*"):
        if path.is_symlink():
            target = path.resolve()
            path.unlink()
            shutil.copy(target, path)
    shutil.rmtree(ground.work / ".dvc/cache")
    again(ground, row, door, done=True)
    return row


def lock_broken(ground: Playground, door: str, stage: str, how: str) -> Row:
    """dvc.lock is not what it was."""
    row = Row(f"dvc.lock {how}", door, stage)
    lock = ground.work / "dvc/test/dvc.lock"
    ground.edit(stage)
    if how == "half written by a kill":
        where = "dvc/utils/serialize/_yaml.py|_dump=dvc.lock" if door == "dvc" else "dvc/utils/serialize/_yaml.py|_dump"
        process = ground.start(door, stage, ACCIDENT=f"{door}|{where}|call|kill")
        process.wait(300)
    else:
        ground.project(*command(door, stage))
        text = lock.read_text()
        lock.write_text("" if how == "empty" else text[: len(text) * 2 // 3])
    if door == "dvc":
        refused = subprocess.run(command("dvc", stage), cwd=ground.work, env=ground.project.env, capture_output=True)
        row.note = f"dvc repro: exit code {refused.returncode}; kedro run mends it"
    again(ground, row, "kedro", done=True)
    return row


def disk_full(ground: Playground, door: str, stage: str) -> Row:
    """No space for the copy in DVC's cache."""
    row = Row("the disk full at the end", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage, ACCIDENT="kedro|dvc/output.py|commit|call|full")
    row.note = f"exit code {process.wait(300)}"
    again(ground, row, door, done=True)
    return row


def stages_at_once(ground: Playground) -> Row:
    """Four stages started together, as a scheduler does."""
    row = Row("four stages at once", "kedro", "base32")
    ground.edit("base32")
    for _, steps in (("sr64", 4), ("sr128", 3), ("sr256", 2)):
        ground.project.edit(PARAMETERS, f"training: {{steps: {steps},", f"training: {{lr: 2.0e-4, steps: {steps},")
    names = ("base32", "sr64", "sr128", "sr256")
    started = [subprocess.Popen(command("kedro", s), cwd=ground.work, env=ground.project.env) for s in names]
    row.note = f"exit codes {[process.wait(400) for process in started]}"
    again(ground, row, "dvc", done=True)
    return row


def twice_at_once(ground: Playground, door: str) -> Row:
    """The same stage twice: the second waits and finds it fresh."""
    row = Row(f"`kedro run` of the same stage beside {door}", door, "base32")
    ground.edit("base32")
    process = ground.start(door, "base32")
    ground.wait_until(lambda: "base32: running" in ground.said(), process)
    output = ground.project(*command("kedro", "base32"))
    code = process.wait(100)
    row.note = f"exit code {code}; the second {'found it fresh' if 'fresh' in output else 'RAN'}"
    row.judge(ground, output, ground._wanted["base32"], True, time.monotonic())
    return row


def accidents(seconds: float) -> Iterator[tuple[str, Callable[[Playground], Row], str]]:
    """All of them: a name, the accident, and the stage that it hits. What a stage does matters to some of them only."""
    doors = ("kedro", "dvc")
    for door in doors:
        for title, where in STEPS[: 7 if door == "kedro" else 6]:
            yield f"kill {title} {door}", lambda g, d=door, t=title, w=where: killed_at(g, d, "grids", t, w), "grids"
        yield f"cache {door}", lambda g, d=door: cache_removed(g, d, "grids"), "grids"
        for how in ("half written by a kill", "empty", "truncated"):
            yield f"dvc.lock {how} {door}", lambda g, d=door, h=how: lock_broken(g, d, "grids", h), "grids"
        for other in (["dvc", "gc", "-w", "-f"], ["dvc", "push"]):
            yield f"{other[1]} {door}", lambda g, d=door, o=other: meanwhile(g, d, "grids", o), "grids"
        yield f"lock beginning {door}", lambda g, d=door: locked(g, d, "grids", "beginning", seconds), "grids"
        yield f"full {door}", lambda g, d=door: disk_full(g, d, "base32"), "base32"
        yield f"lock end {door}", lambda g, d=door: locked(g, d, "base32", "end", seconds), "base32"
        yield f"twice {door}", lambda g, d=door: twice_at_once(g, d), "base32"
    yield "at once", stages_at_once, "base32"
    kedro = r"python\S* \S*kedro run"
    trees = [(door, "base32", which) for door in doors for which in (kedro, "training.worker")]
    trees += [("dvc", "base32", "dvc repro"), ("dvc", "preprocess", "dvc repro")]
    trees += [(door, "preprocess", which) for door in doors for which in (kedro, "spawn_main")]
    for door, stage, which in trees:
        yield f"lone {which} {door} {stage}", lambda g, d=door, s=stage, w=which: lone_kill(g, d, s, w), stage
    for i, what in enumerate(("comment", "docstring", "line of code", "parameter", "parameter, and an undo")):
        for k, stage in enumerate(("base32", "preprocess", "sample")):
            door = doors[(i + k) % 2]
            yield f"edit {what} {stage}", lambda g, d=door, s=stage, w=what: edited(g, d, s, w), stage
    for i, (title, where) in enumerate(STEPS):
        door = doors[i % 2]
        name = f"kill {title} {door} base32"
        yield name, lambda g, d=door, t=title, w=where: killed_at(g, d, "base32", t, w), "base32"
    for stage, most in (("preprocess", 14), ("base32", 24), ("sample", 12)):
        for door in doors:
            after = random.uniform(4, most)
            yield f"random {stage} {door}", lambda g, d=door, s=stage, a=after: killed_somewhere(g, d, s, a), stage


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="accidents whose name matches this regular expression")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long DVC's lock is held")
    parser.add_argument("--root", type=Path, default=Path("/tmp/cdm-accidents"), help="folder for the project")
    parser.add_argument("--table", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    random.seed(0)
    ground, rows, failed = Playground(options.root), [], []
    head = "| accident | door | stage | work lost | bytes | remarks |\n|---|---|---|---|---|---|"
    print(head, flush=True)
    for name, accident, stage in accidents(options.seconds):
        if not re.search(options.only, name):
            continue
        began = time.monotonic()
        ground.wanted(stage)
        ground.reset()
        try:
            row = accident(ground)
            rows.append(row)
            print(row.line(), f" <!-- {time.monotonic() - began:.0f} s -->", flush=True)
            if not row.same or "LEFT" in row.note:
                failed.append(name)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            failed.append(name)
            print(f"FAILED {name}: {str(error)[-1500:]}", flush=True)
            for process in ground.rest():
                with suppress(psutil.Error):
                    os.kill(process.pid, signal.SIGKILL)
    if options.table:
        options.table.write_text("\n".join([head, *(row.line() for row in rows)]) + "\n")
    print(f"{len(rows)} accidents, {len(failed)} failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
