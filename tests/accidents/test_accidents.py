"""A few accidents of ``accidents.py``, which has them all: no finished work is lost, from either door."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from project import Project

PARAMETERS = "conf/test/parameters.yml"
SHORT = "training: {steps: 6,"
FILES = {
    "kedro": ["kedro", "run", "--env=test", "--pipelines=base32"],
    "dvc": ["dvc", "repro", "dvc/test/dvc.yaml:base32"],
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # the first one makes the cascade
steps = iter(range(21, 60))  # no accident may find another's result in the run cache


@pytest.fixture
def stale(project: Any) -> Iterator[Project]:
    """The project with base32 to be trained; fresh again afterwards."""
    project.edit(PARAMETERS, SHORT, SHORT.replace("6", str(next(steps))))
    yield project
    project("git", "checkout", "-q", "--", PARAMETERS)
    assert ": running" not in project.kedro() and project.stale() == {}


def accident(project: Project, door: str, where: str, action: str = "kill") -> str:
    """Run base32 from a door with an accident; it must fail, and leave no process."""
    path = os.pathsep.join([str(Path(__file__).parent / "inject"), project.env["PYTHONPATH"]])
    return project(*FILES[door], fails=True, ACCIDENT=f"{where}|{action}", PYTHONPATH=path)


AFTER = [
    ("kedro", "provenance/staleness.py|keep|call"),
    ("dvc", "files/links.py|keep|return"),
    ("kedro", "dvc/output.py|commit|return"),
    ("dvc", "dvc/stage/cache.py|save|return"),
    ("kedro", "shutil.py|rmtree=base32|call"),
]


@pytest.mark.parametrize(("door", "where"), AFTER)
def test_a_kill_after_the_work_costs_no_work(stale: Project, door: str, where: str) -> None:
    output = accident(stale, door, f"kedro|{where}")
    assert "base32: running" in output
    other = stale(*FILES["dvc" if door == "kedro" else "kedro"])
    assert "base32: running" not in other or re.search(r"base32: resuming at step (\d+) of \1\b", other), other
    assert "base32" not in stale.stale()


def test_a_full_disk_at_the_end_costs_no_work(stale: Project) -> None:
    assert "are complete and kept; make room and run again" in accident(
        stale, "kedro", "kedro|dvc/output.py|commit|call", "full"
    )
    assert "was finished and is recorded now" in stale(*FILES["kedro"])


def test_a_kill_while_dvc_writes_its_lock_file_leaves_the_old_one(stale: Project) -> None:
    lock = stale.root / "dvc/test/dvc.lock"
    before = lock.read_text()
    accident(stale, "dvc", "dvc|dvc/utils/serialize/_yaml.py|_dump=dvc.lock|call")
    assert lock.read_text() == before
    assert "is cached - skipping run" in stale(*FILES["dvc"])


@pytest.mark.parametrize("door", ["kedro", "dvc"])
def test_a_lost_cache_runs_nothing(project: Any, door: str) -> None:
    cache, kept = project.root / ".dvc/cache", project.root / ".dvc/kept"
    shutil.copytree(cache, kept)
    shutil.rmtree(cache)
    try:
        output = project(*FILES[door])
        assert ": running" not in output and "base32" not in project.stale()
    finally:
        shutil.copytree(
            kept,
            cache,
            dirs_exist_ok=True,
            ignore=lambda folder, names: [
                name for name in names if (cache / Path(folder).relative_to(kept) / name).is_file()
            ],
        )
        shutil.rmtree(kept)


def test_dvcs_lock_is_waited_for(stale: Project) -> None:
    hold = "import zc.lockfile; lock = zc.lockfile.LockFile('.dvc/tmp/lock'); print(1, flush=True); input()"
    log, pipe = stale.root / "waiting.log", subprocess.PIPE
    with (
        log.open("w") as file,
        subprocess.Popen([sys.executable, "-c", hold], cwd=stale.root, stdin=pipe, stdout=pipe, text=True) as holder,
    ):
        assert holder.stdin is not None and holder.stdout is not None and holder.stdout.readline()
        run = subprocess.Popen(FILES["kedro"], cwd=stale.root, env=stale.env, stdout=file, stderr=file)
        deadline = time.monotonic() + 100
        while "waiting" not in log.read_text():
            assert time.monotonic() < deadline and run.poll() is None, log.read_text()
            time.sleep(0.2)
        holder.communicate("\n")
        assert run.wait(300) == 0
    output = log.read_text()
    assert output.count("waiting for this project's records") == 1 and f"(pid {holder.pid}, since" in output
    assert "base32: running" in output


def test_stages_started_at_once_all_succeed(stale: Project) -> None:
    for count in (4, 3, 2):
        stale.edit(PARAMETERS, f"training: {{steps: {count},", f"training: {{lr: 2.5e-4, steps: {count},")
    commands = [["kedro", "run", "--env=test", f"--pipelines={name}"] for name in ("base32", "sr64", "sr128", "sr256")]
    parent = {**stale.env, "MLFLOW_RUN_ID": stale.runs()[-1].info.run_id}
    started = [subprocess.Popen(command, cwd=stale.root, env=parent) for command in commands]
    assert [process.wait(300) for process in started] == [0, 0, 0, 0]
    assert set(stale.stale()) == {"sample", "register", "report"}  # those that read a model, its card or its curve
    assert {r.data.tags["mlflow.parentRunId"] for r in stale.runs()[:4]} == {parent["MLFLOW_RUN_ID"]}


@pytest.mark.parametrize("victim", ["dvc repro", "kedro run", "training.worker"])
def test_a_lone_kill_ends_all_processes(stale: Project, victim: str) -> None:
    log = (stale.root / "killed.log").open("w+")
    process = subprocess.Popen(
        FILES["dvc"], cwd=stale.root, env=stale.env, stdout=log, stderr=log, start_new_session=True
    )
    tree: dict[int, psutil.Process] = {}
    deadline = time.monotonic() + 100
    while not any("training.worker" in " ".join(p.cmdline()) for p in tree.values() if p.is_running()):
        assert time.monotonic() < deadline and process.poll() is None, Path(log.name).read_text()
        tree = {p.pid: p for p in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]}
        time.sleep(0.1)
    next(p for p in tree.values() if victim in " ".join(p.cmdline())).send_signal(signal.SIGKILL)
    process.wait(100)
    _, alive = psutil.wait_procs([p for p in tree.values() if p.pid != process.pid], timeout=90)
    assert not alive, [p.cmdline() for p in alive]
    stale(*FILES["kedro"])
    assert not [r for r in stale.runs() if r.info.status == "RUNNING"]
