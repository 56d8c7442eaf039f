"""The generated DAG, executed by Airflow 3 itself: `make test-airflow` installs it and runs this file."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from project import ROOT, Project, new_project

AIRFLOW = os.environ.get("AIRFLOW", "")
pytestmark = [
    pytest.mark.skipif(not AIRFLOW, reason="needs Airflow in an environment of its own: make test-airflow"),
    pytest.mark.timeout(2400),  # a test's first part is the making of all that it needs
]
DAG = "cdm-kedro-cascade-test"
AROUND = ("open_run", "close_run")


class Airflow:
    """An Airflow with the DAG, in a folder of its own."""

    def __init__(self, home: Path, project: Project) -> None:
        self.home, self.project = home, project
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = port = listener.getsockname()[1]
        self.env = {
            **{key: value for key, value in project.env.items() if key != "PYTHONPATH"},
            "PATH": f"{Path(AIRFLOW).parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
            "CDM_PROJECT": str(project.root),
            "CDM_KEDRO": str(home / "kedro"),
        }
        # Airflow's tasks have Airflow's environment; kedro needs the project's.
        path = project.env["PATH"]
        variables = f"PYTHONPATH='{project.root}/src' PATH='{path}' OMP_NUM_THREADS=1"
        (home / "kedro").write_text(f'#!/bin/sh\n{variables} exec kedro "$@"\n')
        (home / "kedro").chmod(0o755)
        project(
            *("kedro", "airflow", "create", "--pipelines=cascade", "--env=test", "--group-by=namespace"),
            *("--jinja-file", str(ROOT / "packaging/airflow_dag.j2"), f"--target-dir={home / 'dags'}"),
            *("--params", "retry_delay=0"),
        )
        self("db", "migrate")

    def __call__(self, *command: str) -> str:
        done = subprocess.run(
            (AIRFLOW, *command), env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def states(self) -> dict[str, tuple[str, int, str, str]]:
        """Task to state, number of tries, start and end."""
        with sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True) as database:
            rows = database.execute("select task_id, state, try_number, start_date, end_date from task_instance")
            return {task: tuple(rest) for task, *rest in rows}  # type: ignore[misc]

    def run_state(self) -> str:
        with sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True) as database:
            return str(next(database.execute("select state from dag_run"), ("none",))[0])

    def logs(self, stage: str) -> str:
        """What all tries of a task said."""
        files = sorted((self.home / "logs").glob(f"dag_id={DAG}/run_id=*/task_id={stage}/attempt=*.log"))
        return "\n".join(file.read_text() for file in files)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    folder = tmp_path_factory.mktemp("airflow")
    (folder / "home/dags").mkdir(parents=True)
    project = new_project(folder / "cdm")
    file = project.root / "conf/test/parameters.yml"
    parameters = yaml.safe_load(file.read_text())
    parameters["base32"]["training"] |= {"steps": 60, "checkpoint_steps": 2}
    file.write_text(yaml.safe_dump(parameters, sort_keys=False))
    return Airflow(folder / "home", project)


@pytest.fixture(scope="module")
def executed(airflow: Airflow) -> Iterator[Airflow]:
    """After the scheduler has run the whole DAG, during which one training was killed."""
    with (airflow.home / "standalone.log").open("w") as log:
        engine = subprocess.Popen(
            (AIRFLOW, "standalone"), env=airflow.env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            airflow("dags", "reserialize")
            wait_for_port(airflow.port, engine)
            airflow("dags", "trigger", DAG)
            killed, deadline = False, time.monotonic() + 1500
            while airflow.run_state() not in ("success", "failed"):
                assert time.monotonic() < deadline, Path(log.name).read_text()[-5000:]
                killed = killed or kill_training(airflow.project, "base32")
                time.sleep(0.5)
            assert killed
        finally:
            for process in psutil.Process(engine.pid).children(recursive=True):
                with suppress(psutil.Error):
                    process.terminate()
            with suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGTERM)
            engine.wait(60)
    yield airflow


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.5)
    raise AssertionError("Airflow ended")


def kill_training(project: Project, stage: str) -> bool:
    """Kill the process that trains a stage, once it has a checkpoint."""
    for job in project.root.glob(f".scratch/test/{stage}/*/job.json"):
        if list(job.parent.glob("**/*.safetensors")):
            for process in psutil.process_iter(["cmdline"]):
                command = process.info["cmdline"] or []
                if "cdm_kedro.training.worker" in command and str(job.relative_to(project.root)) in command:
                    with suppress(psutil.Error):
                        if process.cwd() == str(project.root):
                            process.kill()
                            return True
    return False


def test_the_scheduler_runs_every_stage_and_trains_in_parallel(executed: Airflow) -> None:
    states = executed.states()
    assert {task: state for task, (state, *_) in states.items()} == dict.fromkeys(
        (*executed.project.stages(), *AROUND), "success"
    )
    for stage in executed.project.stages():
        assert f"{stage}: running, because not made yet" in executed.logs(stage)
    starts, ends = zip(*(states[stage][2:] for stage in ("sr64", "sr128", "sr256")), strict=True)
    assert max(starts) < min(ends)
    (parent,) = (run for run in executed.project.runs() if "mlflow.parentRunId" not in run.data.tags)
    assert parent.info.status == "FINISHED"


def test_a_killed_training_is_retried_and_resumes(executed: Airflow) -> None:
    tries = {task: number for task, (_, number, *_) in executed.states().items()}
    assert tries == {**dict.fromkeys((*executed.project.stages(), *AROUND), 1), "base32": 2}
    assert re.search(r"base32: resuming at step \d+ of 60", executed.logs("base32"))
    curve = (executed.project.root / "data/env/test/08_reporting/curves/base32.csv").read_text().splitlines()
    assert curve[-1].startswith("60,")


def test_a_second_execution_skips_everything(executed: Airflow) -> None:
    runs = len(executed.project.runs())
    said = executed("dags", "test", DAG)
    for stage in executed.project.stages():
        assert f"{stage}: fresh, skipped" in said
    assert "running, because" not in said and len(executed.project.runs()) == runs
    assert json.loads((executed.project.root / "data/env/test/08_reporting/metrics.json").read_text())
