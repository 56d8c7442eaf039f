"""Accidents of every kind from both doors, on the tiny cascade: what work is lost, and is the result the same?

``python tests/accidents/accidents.py [--few] [--only WORD] [--seconds 60] [--table FILE]`` needs half a minute an
accident. Every one begins in a copy of a project whose cascade is made.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from project import Project, new_project  # noqa: E402

PARAMETERS = "conf/test/parameters.yml"
EVERYTHING = ("embedded: {train_per_class: 3,", "embedded: {train_per_class: 4,")
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
CODE = {"preprocess": "data/preprocess.py", "base32": "training/trainer.py", "sample": "sampling/cascade.py"}
OTHER = {"kedro": "dvc", "dvc": "kedro"}
CHECKPOINTS = {"base32": "checkpoints/step_*", "sample": "shards/*.npz", "preprocess": "*.json"}
"""Work that the next run goes on from, in a stage's folder for unfinished work."""
ALL = (
    *("05_model_input/*.beton", "06_models/*.safetensors", "07_model_output/samples_*.npz"),
    *("08_reporting/samples_*.png", "04_feature/reference.npz"),
)
"""Outputs of the whole cascade that have no times in them."""
STEPS = [
    ("outputs written, nothing noted", "provenance/staleness.py|keep|call"),
    ("outputs complete and kept", "files/links.py|keep|return"),
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
        self.project.seconds = 1200  # a busy machine is slow
        self.project.env["OMP_NUM_THREADS"] = "1"  # one process of two threads rounds otherwise than two of one
        self.project.env["PYTHONPATH"] = os.pathsep.join([str(HERE / "inject"), str(self.work / "src")])
        if not (self.made / "ready").exists():
            shutil.rmtree(self.work, ignore_errors=True)
            new_project(self.work)
            self.project.kedro()
            self.project("git", "add", "-A")
            self.project("git", "commit", "-qm", "made")
            (self.work / "ready").touch()
            self.work.rename(self.made)
        self._wanted: dict[str, dict[str, str]] = {}
        self.began: float | None = None  # when the stage of the accident began to run
        self.ended = 0.0  # when the accident came
        self.lost = 0.0  # seconds of work that no file had kept then

    def reset(self, spare: int | None = None) -> None:
        """The made project again; with ``spare`` on a file system of its own that has so many bytes left."""
        self.began = None
        if self.work.is_mount():
            subprocess.run(["umount", str(self.work)], check=True)
        while self.work.exists():  # a process may be ending in it
            shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        if spare is not None:
            size = int(subprocess.run(["du", "-sk", str(self.made)], capture_output=True, check=True).stdout.split()[0])
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size * 1024 + spare}", "tmpfs", str(self.work)]
            subprocess.run(mount, check=True)
        subprocess.run(["cp", "-a", f"{self.made}/.", str(self.work)], check=True)

    def run(self, door: str, stage: str) -> None:
        """Run a stage to its end before the accident."""
        self.began = time.time()
        self.project(*command(door, stage))
        self.ended = time.time()

    def edit(self, stage: str) -> None:
        """Make a stage stale."""
        self.project.edit(PARAMETERS, *EDITS.get(stage, EVERYTHING))

    def hashes(self, stage: str) -> dict[str, str]:
        """Of a stage's outputs."""
        data = self.work / "data/env/test"
        patterns = ALL if stage == "cascade" else (OUTPUTS[stage],)
        files = sorted(path for pattern in patterns for path in data.glob(pattern))
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    def wanted(self, stage: str) -> dict[str, str]:
        """Hashes of an undisturbed run of the edited stage."""
        if stage not in self._wanted:
            self.reset()
            self.edit(stage)
            self.project(*command("kedro", stage))
            self._wanted[stage] = self.hashes(stage)
            assert self._wanted[stage]
        return self._wanted[stage]

    def start(self, door: str, stage: str, *options: str, **env: str) -> subprocess.Popen[str]:
        """Run a stage in the background, in a session of its own."""
        log = (self.work / "accident.log").open("w")
        return subprocess.Popen(
            command(door, stage, *options),
            cwd=self.work,
            env={**self.project.env, **env},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )

    def watch(self, process: subprocess.Popen[str], stage: str, seconds: float = 300) -> int | None:
        """Wait until a command ends, or for some seconds, and note when its stage began to run and when it ended."""
        self.began, deadline = None, time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            if self.began is None and f"{stage}: running" in self.said():
                self.began = time.time()
            time.sleep(0.05)
        self.ended = time.time()
        return process.returncode

    def unsaved(self, stage: str) -> float:
        """Seconds from the newest checkpoint, or from the stage's beginning, to the accident; 0 if it never began."""
        if self.began is None:
            return 0.0
        kept = (self.work / ".scratch/test" / stage).glob(f"*/{CHECKPOINTS.get(stage, 'none')}")
        return max(0.0, self.ended - max([self.began, *(path.stat().st_mtime for path in kept)]))

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


def command(door: str, stage: str, *options: str) -> list[str]:
    """That runs a stage, or the whole cascade."""
    if door == "kedro":
        return ["kedro", "run", "--env=test", f"--pipelines={stage}"]
    return ["dvc", *options, "repro", "dvc/test/dvc.yaml" + (f":{stage}" if stage != "cascade" else "")]


class Row:
    """A line of the table."""

    def __init__(self, accident: str, door: str, stage: str) -> None:
        self.accident, self.door, self.stage = accident, door, stage
        self.lost, self.same, self.note = "?", False, ""

    def judge(self, ground: Playground, output: str) -> None:
        """From what the next run said: work that is not done again is not lost."""
        self.same = ground.hashes(self.stage) == ground.wanted(self.stage)
        resumed = re.search(rf"{self.stage}: resuming at step (\d+) of (\d+)", output)
        if resumed:
            self.note += f" resumed at step {resumed[1]} of {resumed[2]}"
        if f"{self.stage}: running" not in output or ground.lost == 0 or (resumed and resumed[1] == resumed[2]):
            self.lost = "none"
        else:
            self.lost = f"{ground.lost:.1f} s"

    def line(self) -> str:
        """Of Markdown."""
        same = "equal" if self.same else "DIFFERENT"
        return f"| {self.accident} | {self.door} | {self.stage} | {self.lost} | {same} | {self.note.strip()} |"


def again(ground: Playground, row: Row, door: str) -> None:
    """The next run, from a door; the stage must then be fresh from both, nothing runs any more, and no run is open."""
    ground.lost = ground.unsaved(row.stage)
    output = ground.project(*command(door, row.stage))
    row.judge(ground, output)
    assert "up to date" in ground.project("dvc", "status", f"dvc/test/dvc.yaml:{row.stage}"), output
    left = [p.cmdline() for p in ground.rest()]
    assert not left, left
    if door == "dvc":  # which starts nothing where all is fresh, so that nobody could close a killed run
        ground.project(*command("kedro", row.stage))
    with closing(sqlite3.connect(ground.work / "mlflow.db")) as runs:
        left_open = runs.execute("SELECT name FROM runs WHERE status = 'RUNNING'").fetchall()
    assert not left_open, left_open


def killed_at(ground: Playground, door: str, stage: str, title: str, where: str) -> Row:
    """SIGKILL of kedro at a step of a stage's end."""
    row = Row(f"SIGKILL: {title}", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage, ACCIDENT=f"kedro|{where.format(stage=stage)}|kill")
    code = ground.watch(process, stage)
    assert code in (-9, 255) and f"{stage}: running" in ground.said(), ground.said()
    again(ground, row, OTHER[door])
    return row


def killed_somewhere(ground: Playground, door: str, stage: str, after: float) -> Row:
    """SIGKILL of the command at a random moment."""
    row = Row(f"SIGKILL after {after:.1f} s", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage)
    ended = ground.watch(process, stage, after)
    process.kill()
    row.note = gone(ground, process) + (" it had ended" if ended is not None else "")
    again(ground, row, OTHER[door])
    return row


def gone(ground: Playground, process: subprocess.Popen[str]) -> str:
    """Wait until a killed command's processes are gone, and say how long that took."""
    began = time.monotonic()
    while ground.rest() and time.monotonic() - began < 90:
        time.sleep(0.1)
        process.poll()
    left = ground.rest()
    for one in left:
        one.kill()
    process.wait()
    return (
        f"LEFT: {[one.pid for one in left]}" if left else f"all processes gone after {time.monotonic() - began:.1f} s"
    )


def killed_all_the_way(ground: Playground) -> Row:
    """SIGKILL again and again at random moments of the whole cascade, from one door and then the other."""
    row, kills = Row("SIGKILL again and again, at random moments", "both", "cascade"), 0
    code: int | None = None
    ground.edit("cascade")
    door = "dvc"
    while code != 0:
        door = OTHER[door]
        process = ground.start(door, "cascade")
        code = ground.watch(process, "cascade", random.uniform(3, 9) + 2 * kills)
        if code is None:
            random.choice([process.kill, lambda p=process: os.killpg(p.pid, signal.SIGKILL)])()
            kills += 1
            assert "LEFT" not in gone(ground, process)
        assert not code, ground.said()
    row.same, row.lost = ground.hashes("cascade") == ground.wanted("cascade"), "since the last checkpoints"
    row.note = f"{kills} kills"
    return row


def lone_kill(ground: Playground, door: str, stage: str, which: str) -> Row:
    """SIGKILL of one process of the tree; all others must end, and the next run goes on."""
    row = Row(f"lone SIGKILL of `{NAMES[which]}`", door, stage)
    ground.edit(stage)
    if which == "sampling.worker":  # a single process samples without one
        ground.project.edit(PARAMETERS, "  seed: 1\n  stages:", "  seed: 1\n  devices: 2\n  stages:")
    process = ground.start(door, stage)

    def victim() -> psutil.Process | None:
        for child in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with suppress(psutil.Error):
                words = " ".join(child.cmdline())
                if re.search(which, words) and f"{stage}: running" in ground.said():
                    return child
        return None

    ground.wait_until(victim, process)
    ground.began = time.time()
    time.sleep(random.uniform(0, 2))
    found = victim()
    assert found is not None, ground.said()
    found.kill()
    ground.ended = time.time()
    row.note = gone(ground, process)
    again(ground, row, OTHER[door])
    return row


HOLD = """import sys, time, zc.lockfile
while True:
    try: lock = zc.lockfile.LockFile(".dvc/tmp/lock")
    except zc.lockfile.LockError: time.sleep(0.01)
    else: break
print(1, flush=True)
time.sleep(float(sys.argv[1]))"""


def locked(ground: Playground, door: str, stage: str, where: str, seconds: float, *options: str) -> Row:
    """DVC's lock is held: from the beginning, when the stage ends, or before the MLflow run is finished."""
    row = Row(f"DVC's lock held for {seconds:.0f} s {where}", " ".join([door, *options]), stage)
    ground.edit(stage)

    def holder() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLD, str(seconds)]
        started = subprocess.Popen(words, cwd=ground.work, stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None and started.stdout.readline()
        return started

    if where == "from the beginning":
        held = holder()
        process = ground.start(door, stage, *options)
    elif where == "while it ends":
        process = ground.start(door, stage, *options)
        ground.wait_until(lambda: f"{stage}: running" in ground.said(), process)
        time.sleep(1)
        held = holder()
    else:  # kedro stops itself there
        process = ground.start(door, stage, *options, ACCIDENT="kedro|tracking/runs.py|outputs|call|stop")
        stopped: list[psutil.Process] = []
        ground.wait_until(
            lambda: stopped.extend(p for p in ground.rest() if p.status() == psutil.STATUS_STOPPED) or stopped, process
        )
        held = holder()
        stopped[0].resume()
    code = ground.watch(process, stage)
    held.wait()
    assert code == 0, ground.said()
    row.note = f"exit code {code}; said so {len(re.findall(r'waiting for .* holds', ground.said()))} time(s)"
    row.judge(ground, "")
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
        row.judge(ground, "")
    else:
        again(ground, row, door)
    return row


def edited(ground: Playground, door: str, stage: str, what: str) -> Row:
    """An edit while a stage runs. Its result is kept, whatever is edited."""
    row = Row(f"edit of a {what} while it runs", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage)
    ground.wait_until(lambda: f"{stage}: running" in ground.said(), process)
    time.sleep(0.5)
    file = ground.work / "src/cdm_kedro" / CODE[stage]
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
        file.write_text(before + "EDITED = True\n")
    if "undo" in what:
        time.sleep(0.5)
        file.write_text(before)
        (ground.work / PARAMETERS).write_text(parameters)
    row.note = f"exit code {ground.watch(process, stage)}"
    file.write_text(before)
    (ground.work / PARAMETERS).write_text(parameters)
    again(ground, row, OTHER[door])
    return row


def data_changed(ground: Playground, door: str, stage: str) -> Row:
    """Data changes under a running stage, and is what it was when the stage runs again; its outputs are never kept."""
    row = Row("data changed while it runs, and back afterwards", door, stage)
    ground.edit(stage)
    process = ground.start(door, stage, ACCIDENT="kedro|files/links.py|keep|return|kill")
    ground.wait_until(lambda: f"{stage}: running" in ground.said(), process)
    file = ground.work / "data/env/test/05_model_input/classes.json"
    before = file.read_bytes()
    file.unlink()
    file.write_bytes(before + b"\n")
    code = ground.watch(process, stage)
    assert "changed while stage" in ground.said() and code in (1, 255), ground.said()
    file.write_bytes(before)
    row.note = f"exit code {code}"
    again(ground, row, OTHER[door])
    return row


def cache_removed(ground: Playground, door: str, stage: str) -> Row:
    """DVC's cache is gone; the outputs on disk are the recorded ones."""
    row = Row("the cache removed", door, stage)
    ground.edit(stage)
    ground.run("kedro", stage)
    for path in (ground.work / "data/env/test").rglob("*"):
        if path.is_symlink():
            target = path.resolve()
            path.unlink()
            shutil.copy(target, path)
    shutil.rmtree(ground.work / ".dvc/cache")
    again(ground, row, door)
    assert row.lost == "none"
    return row


def lock_broken(ground: Playground, door: str, stage: str, how: str) -> Row:
    """dvc.lock is not what it was."""
    row = Row("SIGKILL: while dvc.lock is written" if how == "written" else f"dvc.lock {how}", door, stage)
    lock = ground.work / "dvc/test/dvc.lock"
    ground.edit(stage)
    if how == "written":
        where = "dvc/utils/serialize/_yaml.py|_dump" + ("=dvc.lock" if door == "dvc" else "")
        before = lock.read_text()
        assert ground.watch(ground.start(door, stage, ACCIDENT=f"{door}|{where}|call|kill"), stage) == -9
        assert lock.read_text() == before
    else:
        ground.run(door, stage)
        text = lock.read_text()
        lock.write_text("" if how == "empty" else text[: len(text) * 2 // 3])
    again(ground, row, door)
    return row


def disk_full(ground: Playground, door: str, stage: str, real: bool) -> Row:
    """No space for the copy in DVC's cache; or no space on the file system once the last checkpoint is written."""
    row = Row("the disk full " + ("after the last checkpoint" if real else "at the copy to DVC's cache"), door, stage)
    if real:
        ground.reset(64 << 20)
    ground.edit(stage)
    if real:
        process = ground.start(door, stage)
        ground.wait_until(lambda: list(ground.work.glob(f".scratch/test/{stage}/*/checkpoints/step_*9.json")), process)
        filler = ground.work / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        code = ground.watch(process, stage)
        filler.unlink()
    else:
        process = ground.start(door, stage, ACCIDENT="kedro|dvc/output.py|commit|call|full")
        code = ground.watch(process, stage)
    assert code != 0 and re.search("no space left|disk is full", ground.said(), re.IGNORECASE), ground.said()
    assert real or "are complete and kept; make room and run again" in ground.said()
    row.note = f"exit code {code}"
    again(ground, row, door)
    return row


def stages_at_once(ground: Playground) -> Row:
    """Four stages started together, as a scheduler does."""
    row = Row("four stages at once", "kedro", "base32")
    ground.edit("base32")
    for _, steps in (("sr64", 4), ("sr128", 3), ("sr256", 2)):
        ground.project.edit(PARAMETERS, f"training: {{steps: {steps},", f"training: {{lr: 2.0e-4, steps: {steps},")
    names = ("base32", "sr64", "sr128", "sr256")
    started = [subprocess.Popen(command("kedro", s), cwd=ground.work, env=ground.project.env) for s in names]
    codes = [process.wait(400) for process in started]
    assert codes == [0, 0, 0, 0]
    row.note = f"exit codes {codes}"
    again(ground, row, "dvc")
    return row


def twice_at_once(ground: Playground, door: str, second: str) -> Row:
    """The same stage twice: the second waits, says for whom, and runs nothing."""
    row = Row(f"`{' '.join(command(second, 'base32')[:2])}` of the same stage beside {door}", door, "base32")
    ground.edit("base32")
    process = ground.start(door, "base32")
    ground.wait_until(lambda: "base32: running" in ground.said(), process)
    output = ground.project(*command(second, "base32"))
    code = process.wait(100)
    found = "base32: fresh" if second == "kedro" else ":base32' is cached - skipping run"
    assert code == 0 and found in output and re.search(r"waiting for .* holds", output), output
    row.note = "the second waited and ran nothing"
    row.judge(ground, output)
    return row


KEDRO = r"python\S* \S*kedro run"
NAMES = {
    KEDRO: "kedro run",
    "dvc repro": "dvc repro",
    "training.worker": "python -m cdm_kedro.training.worker",
    "sampling.worker": "python -m cdm_kedro.sampling.worker",
    "spawn_main": "a process that decodes images",
    "resource_tracker": "the resource tracker of multiprocessing",
}
TREES = {
    "base32": ("dvc repro", KEDRO, "training.worker"),
    "preprocess": ("dvc repro", KEDRO, "spawn_main", "resource_tracker"),
    "sample": ("dvc repro", KEDRO, "sampling.worker"),
}
LOCK = ("from the beginning", "while it ends", "after it is recorded")
FEW = (
    "kill outputs complete and kept kedro",
    "kill in the run cache, not in dvc.lock dvc",
    "dvc.lock written dvc",
    "full injected dvc",
    "lone dvc repro dvc base32",
    "edit parameter base32",
    "twice kedro dvc",
)
"""The names of those that CI runs."""


def accidents(seconds: float) -> Iterator[tuple[str, Callable[[Playground], Row], str]]:
    """All of them: a name, the accident, and the stage that it hits. What a stage does matters to some of them only."""
    doors = ("kedro", "dvc")
    for door in doors:
        for title, where in STEPS[: 7 if door == "kedro" else 6]:
            yield f"kill {title} {door}", lambda g, d=door, t=title, w=where: killed_at(g, d, "grids", t, w), "grids"
        yield f"cache {door}", lambda g, d=door: cache_removed(g, d, "grids"), "grids"
        for how in ("written", "empty", "truncated"):
            yield f"dvc.lock {how} {door}", lambda g, d=door, h=how: lock_broken(g, d, "grids", h), "grids"
        for other in (["dvc", "gc", "-w", "-f"], ["dvc", "push"], ["dvc", "pull"], ["dvc", "status"]):
            yield f"{other[1]} {door}", lambda g, d=door, o=other: meanwhile(g, d, "grids", o), "grids"
        for where in LOCK:
            name = f"lock {where} {door}"
            yield name, lambda g, d=door, w=where: locked(g, d, "base32", w, seconds), "base32"
        for real in (False, True) if os.geteuid() == 0 else (False,):  # to mount a small file system takes root
            name = f"full {'disk' if real else 'injected'} {door}"
            yield name, lambda g, d=door, r=real: disk_full(g, d, "base32", r), "base32"
        for second in doors:
            yield f"twice {door} {second}", lambda g, d=door, s=second: twice_at_once(g, d, s), "base32"
        yield f"data {door}", lambda g, d=door: data_changed(g, d, "base32"), "base32"
    wait = "--wait-for-lock"
    yield f"lock {wait}", lambda g: locked(g, "dvc", "base32", LOCK[0], seconds, wait), "base32"
    yield "at once", stages_at_once, "base32"
    for stage, processes in TREES.items():
        for which in processes:
            for door in doors:
                if which == "dvc repro" and door == "kedro":
                    continue
                name = f"lone {which} {door} {stage}"
                yield name, lambda g, d=door, s=stage, w=which: lone_kill(g, d, s, w), stage
    for i, what in enumerate(("comment", "docstring", "line of code", "parameter", "parameter, and an undo")):
        for k, stage in enumerate(("base32", "preprocess", "sample")):
            door = doors[(i + k) % 2]
            yield f"edit {what} {stage}", lambda g, d=door, s=stage, w=what: edited(g, d, s, w), stage
    for i, (title, where) in enumerate(STEPS):
        for k, stage in enumerate(("base32", "preprocess")):
            door = doors[(i + k) % 2] if i < 6 else "kedro"
            name = f"kill {title} {door} {stage}"
            yield name, lambda g, d=door, s=stage, t=title, w=where: killed_at(g, d, s, t, w), stage
    for stage, most in (("preprocess", 14), ("base32", 24), ("sample", 12)):
        for door in doors:
            after = random.uniform(4, most)
            yield f"random {stage} {door}", lambda g, d=door, s=stage, a=after: killed_somewhere(g, d, s, a), stage
    yield "random cascade", killed_all_the_way, "cascade"


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", action="store_true", help="one of every kind")
    parser.add_argument("--only", default="", help="accidents whose name matches this regular expression")
    parser.add_argument("--part", default="1/1", help="2/3 is the second third of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long DVC's lock is held")
    parser.add_argument("--root", type=Path, help="folder for the project; the next call reuses it")
    parser.add_argument("--table", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    random.seed(0)
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # FFCV's compilation costs seconds a process and changes no result
    temporary = options.root or tempfile.mkdtemp(prefix="cdm-accidents-")
    ground, rows, failed = Playground(Path(temporary)), [], []
    head = "| accident | door | stage | work lost | bytes | remarks |\n|---|---|---|---|---|---|"
    print(head, flush=True)
    known = [one for one in accidents(options.seconds) if one[0] in FEW or not options.few]
    known = [one for one in known if re.search(options.only, one[0])]
    for name, accident, stage in known[part - 1 :: parts]:
        began = time.monotonic()
        try:
            ground.wanted(stage)
            ground.reset()
            row = accident(ground)
            rows.append(row)
            print(row.line(), f" <!-- {name}: {time.monotonic() - began:.0f} s -->", flush=True)
            if not row.same or "LEFT" in row.note:
                failed.append(name)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            failed.append(name)
            print(f"FAILED {name}: {str(error)[-3000:]}", flush=True)
            for process in ground.rest():
                with suppress(psutil.Error):
                    process.kill()
    ground.reset()
    if options.root is None:
        shutil.rmtree(temporary)
    if options.table:
        options.table.write_text("\n".join([head, *(row.line() for row in rows)]) + "\n")
    print(f"{len(rows)} accidents, {len(failed)} failed: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
