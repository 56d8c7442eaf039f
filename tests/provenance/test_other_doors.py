"""Ways to run that are neither a plain `kedro run` nor `dvc repro`: what docs/staleness.md says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from servers import free_port

pytestmark = pytest.mark.e2e
PARAMETERS = "conf/test/parameters.yml"
GRIDS = ("kedro", "run", "--env=test", "--pipelines=grids")


def records(project: Any) -> tuple[bytes, int]:
    """What dvc.lock says, and how many runs MLflow knows."""
    return (project.root / "dvc/test/dvc.lock").read_bytes(), len(project.runs())


def test_another_runner_runs_everything_and_records_nothing(project: Any) -> None:
    picture = project.root / "data/env/test/08_reporting/samples_32.png"
    before, inode, content = records(project), picture.stat().st_ino, picture.read_bytes()
    output = project(*GRIDS, "--runner=ThreadRunner")
    assert "fresh, skipped" not in output and picture.stat().st_ino != inode and picture.read_bytes() == content
    assert records(project) == before
    assert (
        not list((project.root / ".scratch").glob("processes/*/*")) and not (project.root / ".scratch/grids").exists()
    )
    assert project.stale() == {}  # the same bytes


@pytest.mark.slow
def test_async_changes_nothing(project: Any) -> None:
    project.edit(PARAMETERS, "grids: {columns: 1}", "grids: {columns: 3}")
    assert "grids: running, because params grids.columns 1 → 3" in project(*GRIDS, "--async")
    assert "grids" not in project.stale()
    project.edit(PARAMETERS, "grids: {columns: 3}", "grids: {columns: 1}")
    assert "grids: restored" in project(*GRIDS, "--async")
    assert project.stale() == {}


def test_a_server_of_kedro_refuses_to_run(project: Any) -> None:
    before, port = records(project), free_port()
    log = project.root / "server.log"
    with log.open("w") as file:
        command = ["kedro", "server", "start", f"--port={port}", "--env=test"]
        server = subprocess.Popen(command, cwd=project.root, env=project.env, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 120
        while "Uvicorn running" not in log.read_text():
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        body = json.dumps({"pipeline_names": ["grids"]}).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/run", body, headers)
        with urllib.request.urlopen(asked, timeout=120) as stream:
            answer = json.load(stream)
    finally:
        server.terminate()
        server.wait(30)
    assert answer["status"] == "failure" and answer["error"]["type"] == "CdmError"
    assert "nothing was run; use `kedro run --pipelines=grids`" in answer["error"]["message"]
    assert records(project) == before


def test_a_folder_without_configuration_is_said(project: Any, tmp_path: Path) -> None:
    """What test_package.py, which is slow, does not try."""

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "cdm_kedro", "--env=test", *options]
        done = subprocess.run(command, cwd=tmp_path, env=project.env, text=True, capture_output=True)
        assert done.returncode != 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    subprocess.run(["tar", "czf", "conf.tar.gz", "-C", project.root, "conf"], cwd=tmp_path, check=True)
    said = run("--conf-source=conf.tar.gz")
    assert "is no folder with configuration" in said and "has to be unpacked first: tar xzf" in said
    (tmp_path / "conf.tar.gz").unlink()
    said = run(f"--conf-source={project.root}/conf", "--pipelines=grid")
    assert "there is no pipeline 'grid' in environment test. There are: " in said
    assert os.listdir(tmp_path) == []
