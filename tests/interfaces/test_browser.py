"""What a user sees: `kedro viz`, the MLflow UI and the report, in a real browser.

With CDM_SCREENSHOTS=folder the pictures are kept there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from browser import browser, find
from report_values import HOSTILE, hostile_report

from servers import free_port

pytestmark = pytest.mark.skipif(
    find() is None and not os.environ.get("CI"), reason="no Chromium or Chrome is installed"
)
STAGES = (
    *("embedded", "preprocess", "base32", "sr64", "sr128", "sr256", "sample", "reference", "evaluate"),
    *("register", "report"),
)


def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("CDM_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def served(project: Any, *command: str) -> Iterator[str]:
    """A server of the project, up and answering; {port} in the command is replaced."""
    port = free_port()
    words = [word.replace("{port}", port) for word in command]
    log = (project.root / f"{words[0]}.log").open("w")
    process = subprocess.Popen(words, cwd=project.root, env=project.env, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.5)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(20)


def test_kedro_viz_shows_the_stages(project: Any, tmp_path: Path) -> None:
    quiet = """localStorage.setItem('KedroViz', JSON.stringify({showFeatureHints: false, theme: 'light'}))"""
    command = ("kedro", "viz", "run", "--no-browser", "--env=test", "--port={port}")
    with served(project, *command) as url, browser(tmp_path / "profile") as page:
        page.open(url, quiet)
        shown = page.wait_for(*STAGES, "samples_256", "models", "model_input", "reporting")
        page.evaluate("[...document.querySelectorAll('button')].find(b => b.innerText == 'Dismiss')?.click()")
        assert "error" not in shown.lower()
        time.sleep(2)  # the layout's animation
        page.picture(pictures(tmp_path) / "kedro_viz.png")


def test_kedro_viz_follows_the_environment(project: Any) -> None:
    """A pipeline that only this environment has, with layers (a cycle among them would leave them out)."""
    command = ("kedro", "viz", "run", "--no-browser", "--env=test", "--pipeline=claim", "--port={port}")
    with served(project, *command) as url, urllib.request.urlopen(f"{url}/api/main", timeout=60) as answer:
        shown = json.load(answer)
    assert {"claim_baseline", "claim_seed1", "claim_report", "sr64"} <= {node["name"] for node in shown["nodes"]}
    assert shown["layers"] == ["raw", "model_input", "models", "feature", "model_output", "reporting"]


CELLS = """Object.fromEntries([...document.querySelectorAll('[role=row][row-id]')].flatMap(row =>
[...row.querySelectorAll('[col-id]')].map(cell => [row.getAttribute('row-id') + ' ' + cell.getAttribute('col-id'),
cell.innerText])))"""


def first_cascade_alone(project: Any, database: Path) -> list[Any]:
    """Copy the project's MLflow database without the runs that other tests added; return the runs that stay."""
    import mlflow

    shutil.copy(project.root / "mlflow.db", database)
    client, runs = mlflow.MlflowClient(tracking_uri=f"sqlite:///{database}"), project.runs()
    first = runs[-1].data.tags.get("mlflow.parentRunId", runs[-1].info.run_id)
    own = [run for run in runs if first in (run.info.run_id, run.data.tags.get("mlflow.parentRunId"))]
    for run in runs:
        if run not in own:
            client.delete_run(run.info.run_id)
    return own


def test_mlflow_ui_shows_a_run_for_every_stage(project: Any, tmp_path: Path) -> None:
    runs = first_cascade_alone(project, tmp_path / "mlflow.db")
    assert len(runs) >= len(STAGES) + 1
    experiment = runs[0].info.experiment_id
    ids = {run.info.run_name: run.info.run_id for run in reversed(runs)}
    command = ("mlflow", "ui", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--port={port}")
    with served(project, *command) as url, browser(tmp_path / "profile", 1900) as page:
        page.open(f"{url}/#/experiments/{experiment}/runs")
        page.wait_for("cascade --env=test")
        page.evaluate('document.querySelector(\'[aria-label="Close assistant"], [aria-label="Close"]\')?.click()')
        page.evaluate("document.querySelector('.ag-pinned-left-cols-container [col-id*=\"Run Name\"] button').click()")
        page.wait_for(*STAGES)
        time.sleep(2)  # columns find their widths
        page.picture(pictures(tmp_path) / "mlflow_runs.png")
        cells = page.evaluate(CELLS)
        for model in STAGES[2:6]:
            data = cells[f"{ids[model]} attributes.`Dataset`"]
            assert re.match(rf"train_{model.lstrip('baser')} \([0-9a-f]{{32}}\)\s+Training", data), data
            assert cells[f"{ids[model]} attributes.`Models`"] == f"cdm-kedro-{model}"
        evaluated = cells[f"{ids['evaluate']} attributes.`Dataset`"]
        assert all(f"{split}_{side} (" in evaluated for split in ("train", "val") for side in (32, 64, 128, 256))
        assert cells[f"{ids['register']} attributes.`Models`"] == "cdm-kedro-cascade"
        source = cells[f"{ids['sr64']} attributes.`Source`"]
        assert source.startswith("kedro run --pipelines=") and "--env=test" in source
        page.open(f"{url}/#/experiments/{experiment}/runs/{ids['sr64']}")
        page.wait_for("sr64.training.lr", "grad_norm", "git.commit", "Finished")
        page.picture(pictures(tmp_path) / "mlflow_run.png")


@pytest.mark.parametrize("width", [390, 1400])
def test_report_reads_well_and_needs_nothing_else(project: Any, tmp_path: Path, width: int) -> None:
    file = project.root / "data/env/test/08_reporting/report.html"
    with browser(tmp_path / "profile", width, 900) as page:
        page.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        page.open(file.as_uri())
        page.wait_for("Tiny cascade", "efficientnet_lite0", *STAGES[2:6])
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate("document.images.length") >= 4
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert (
            page.evaluate("performance.getEntriesByType('resource').filter(e => e.name.startsWith('http')).length") == 0
        )
        page.picture(pictures(tmp_path) / f"report_{width}.png")


def test_hostile_names_are_text_in_the_report(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(hostile_report(tmp_path), encoding="utf-8")
    with browser(tmp_path / "profile") as page:
        page.open(file.as_uri())
        page.wait_for(HOSTILE, "Training took")
        time.sleep(0.5)  # a picture that fails would have said so
        assert page.evaluate("document.title") == HOSTILE
        assert page.evaluate("document.querySelectorAll('script, [onerror]').length") == 0
        assert page.evaluate("[...document.images].every(i => i.src.startsWith('data:') && i.naturalWidth > 0)")


def test_the_playground_samples_and_enlarges(project: Any, tmp_path: Path) -> None:
    """Each size appears with its time; an uploaded picture is enlarged; what models refuse is said on the page."""
    pytest.importorskip("nicegui", reason="the extra [playground] is not installed")
    command = ("env", "-u", "PYTEST_CURRENT_TEST", "kedro", "playground", "--env=test", "--port={port}")
    pixels = "[...document.querySelectorAll('.q-img img')].map(i => i.naturalWidth)"
    own = next((project.root / "data/env/test/01_raw/embedded/val").rglob("*.jpg"))
    with served(project, *command) as url, browser(tmp_path / "profile", 1400) as page:
        page.open(url)
        deadline = time.monotonic() + 60
        while not page.evaluate("document.querySelectorAll('button').length"):  # its text is in the scripts before
            assert time.monotonic() < deadline
            time.sleep(0.3)
        page.evaluate("[...document.querySelectorAll('button')].find(b => b.innerText.match(/sample/i)).click()")
        deadline = time.monotonic() + 200
        page.wait_for(*(f"{side} px after" for side in (32, 64, 128, 256)))
        while (seen := page.evaluate(pixels)) != [32, 64, 128, 256]:  # a picture is there twice while it fades in
            assert time.monotonic() < deadline, seen
            time.sleep(0.3)
        page.picture(pictures(tmp_path) / "playground.png")
        chooser = page.command("Runtime.evaluate", expression="document.querySelector('input[type=file]')")["result"]
        page.command("DOM.setFileInputFiles", files=[str(own)], objectId=chooser["objectId"])
        page.wait_for(
            f"{own.name}: 288 x 288; its centre square was reduced to 64 x 64", "your picture", "256 px after"
        )
        chooser = page.command("Runtime.evaluate", expression="document.querySelector('input[type=file]')")["result"]
        page.command("DOM.setFileInputFiles", files=[str(project.root / "dvc.yaml")], objectId=chooser["objectId"])
        page.wait_for("dvc.yaml: ", "not an image")
    address = project("kedro", "playground", "--port=1", "--env=nothing", fails=True)
    assert "nothing" in address and "Traceback" not in address
