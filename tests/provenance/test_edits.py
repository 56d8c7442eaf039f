"""Edits, kills and other folders, from `kedro run` and from `dvc repro`, on a whole tiny cascade.

The tests share one project and leave it fresh.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from project import PARAMETERS, STAGES, executed


@pytest.fixture(autouse=True)
def _left_fresh(project: Any) -> Any:
    yield
    assert project.stale() == {}


def test_code_counts_for_those_who_reach_it(project: Any) -> None:
    def stale_after(addition: str, *paths: str) -> set[str]:
        files = [project.root / "src/cdm_kedro" / path for path in paths]
        texts = [file.read_text() for file in files]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text + addition)
        try:
            assert set(project.stale()) == {"code"}  # that is cheap, and decides about the others
            project("dvc", "repro", "dvc/test/dvc.yaml:code")
            return set(project.stale())
        finally:
            for file, text in zip(files, texts, strict=True):
                file.write_text(text)
            project("dvc", "repro", "dvc/test/dvc.yaml:code")

    trained = {"base32", "sr64", "sr128", "sr256"}
    assert stale_after("NEW = 1\n", "diffusion/samplers.py") == {"sample"}
    assert stale_after("NEW = 1\n", "training/trainer.py") == trained
    assert stale_after("NEW = 1\n", "data/beton_writer.py") == {"preprocess"}
    assert stale_after("NEW = 1\n", "sampling/grids.py") == {"grids"}
    assert stale_after("# a comment\n\n\n'a string that nobody reads'\n", "training/trainer.py") == set()
    assert stale_after("NEW = 1\n", "tracking/runs.py", "training/progress.py", "processes/launch.py") == set()
    report, unet = project.root / "src/cdm_kedro/evaluation/report.py", project.root / "src/cdm_kedro/model/unet.py"
    texts = {path: path.read_text() for path in (report, unet)}
    report.write_text(texts[report].replace('"""', '"""Newly: ', 1))
    assert "Everything is fresh" in project.kedro()
    report.write_text(texts[report] + "NEW = 1\n")
    assert executed(project.kedro()) == ["report"]
    unet.write_text(texts[unet] + "NEW = 1\n")
    output = project.kedro()
    # The same weights come out, byte for byte, so what hangs on them stays fresh but for the cards' times.
    assert executed(output)[:4] == ["base32", "sr64", "sr128", "sr256"] and "preprocess: fresh, skipped" in output
    assert "modified: src/cdm_kedro/model/unet.py" in output
    for path, text in texts.items():
        path.write_text(text)
    assert executed(project.kedro()) == []


def test_an_accepted_change_runs_nothing(project: Any) -> None:
    unet = project.root / "src/cdm_kedro/model/unet.py"
    text = unet.read_text()
    unet.write_text(text + "NEW = 1\n")
    because = "a constant that nobody uses"
    reached = ("base32", "sr64", "sr128", "sr256", "sample")
    output = project("kedro", "accept", "--env=test", *reached, f"--because={because}")
    assert output.count("accepted, with modified: src/cdm_kedro/model/unet.py") == 5, output
    assert executed(project.kedro()) == [] and "up to date" in project("dvc", "repro", "dvc/test/dvc.yaml")
    run = next(r for r in project.runs() if r.info.run_name == "sr64")
    assert run.data.tags["cdm.accepted"] == because and run.data.tags["cdm.key.before"] != run.data.tags["cdm.key"]
    lines = project("kedro", "lineage", "data/env/test/06_models/base32.safetensors")
    assert f"accept  {because} (modified: src/cdm_kedro/model/unet.py)" in lines
    assert "fresh, nothing to accept" in project("kedro", "accept", "--env=test", "sr64", "--because=x")
    model = project.root / "data/env/test/06_models/base32.safetensors"
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content[:-1])
    refused = project("kedro", "accept", "--env=test", "base32", "--because=x", fails=True)
    assert "base32 cannot be accepted: changed outs: data/env/test/06_models/base32.safetensors" in refused
    refused = project("kedro", "accept", "--env=test", "sr64", "evaluat", "--because=x", fails=True)
    assert "evaluat is not a stage of environment test; did you mean evaluate?" in refused
    unet.write_text(text)
    assert executed(project.kedro()) == []


def test_another_folder_and_another_image(project: Any) -> None:
    own, globals_ = project.root / "data/own", project.root / "conf/test/globals.yml"
    before = globals_.read_text()
    shutil.copytree(project.root / "data/env/test/01_raw/embedded", own)
    lines = [line if not line.startswith("images:") else "images: data/own" for line in before.splitlines()]
    globals_.write_text("\n".join(lines) + "\n")
    # The same pictures elsewhere: the files come out byte for byte as before, so nothing after them is stale.
    assert executed(project.kedro()) == ["preprocess"]
    picture = next((own / "val").rglob("*.jpg"))
    shutil.copy(picture, own / "train" / picture.parent.name / "added.jpg")
    assert set(project.stale()) == {"preprocess"}
    assert set(executed(project.kedro())) == set(STAGES)
    card = json.loads((project.root / "data/env/test/05_model_input/data_card.json").read_text())
    assert card["per_class"]["train"][picture.parent.name] == 4
    globals_.write_text(before)
    assert executed(project.kedro()) == []  # all restored


@contextmanager
def training(project: Any, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A long training of base32 in the background, with its first checkpoint on disk; ended on the way out."""
    saved = project.root / ".scratch/test/base32"
    shutil.rmtree(saved, ignore_errors=True)
    log = (project.root / "training.log").open("w+")
    process = subprocess.Popen(
        command, cwd=project.root, env=project.env, text=True, stdout=log, stderr=log, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not list(saved.glob("*/checkpoints/step_*.json")):
            assert time.monotonic() < deadline and process.poll() is None, Path(log.name).read_text()
            time.sleep(0.1)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


SHORT, LONG = "training: {steps: 6,", "training: {steps: 400, checkpoint_steps: 20,"
TRAIN = ("kedro", "run", "--pipelines=base32", "--env=test")


def test_killed_at_work_and_started_again(project: Any) -> None:
    parameters = project.root / PARAMETERS
    start = parameters.read_text()
    project.edit(PARAMETERS, SHORT, LONG)
    try:
        with training(project, *TRAIN) as process:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
        assert next(r for r in project.runs() if r.info.run_name == "base32").info.status == "KILLED"
        assert "base32" in project.stale()
        with training(project, *TRAIN) as process:
            refused = project(*TRAIN, "--wait=1", fails=True)  # a second command waits, and says for whom
            assert "Traceback" not in refused, refused
            assert re.search(
                rf"gave up .*`kedro run --pipelines=base32 --env=test` \(pid {process.pid}, since", refused
            )
            project.env["CDM_WAIT"] = "1"
            try:
                refused = project("dvc", "repro", "dvc/test/dvc.yaml:base32", fails=True)
            finally:
                del project.env["CDM_WAIT"]
            assert re.search(rf"gave up .*`kedro run .*` \(pid {process.pid}, since", refused), refused
            assert process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
        output = project("dvc", "repro", "dvc/test/dvc.yaml:base32")  # the other door goes on from the checkpoint
        step = re.search(r"base32: resuming at step (\d+) of 400", output)
        assert step is not None and int(step[1]) >= 20, output
    finally:
        parameters.write_text(start)
        assert executed(project.kedro()) == []
    assert not [r for r in project.runs() if r.info.status == "RUNNING"]


CASES = [("kedro", "parameter"), ("dvc", "parameter"), ("kedro", "source"), ("dvc", "source"), ("kedro", "input")]


@pytest.mark.parametrize(("door", "edited"), CASES)
def test_a_stage_is_recorded_with_what_it_began_with(project: Any, door: str, edited: str) -> None:
    files = {
        "parameter": PARAMETERS,
        "input": "data/env/test/05_model_input/classes.json",
        "source": "src/cdm_kedro/training/trainer.py",
    }
    steps = 101 + CASES.index((door, edited))  # no case may find another's result in the run cache
    parameters, lock = project.root / PARAMETERS, project.root / "dvc/test/dvc.lock"
    start, recorded = parameters.read_text(), lock.read_bytes()
    project.edit(PARAMETERS, SHORT, LONG.replace("400", str(steps)))
    file = project.root / files[edited]
    before = file.read_text()
    command = TRAIN if door == "kedro" else ("dvc", "repro", "dvc/test/dvc.yaml:base32")
    longer = before.replace(f"steps: {steps},", f"lr: 0.002, steps: {steps},")
    changed = {"parameter": longer, "source": before + "NEW = 1\n", "input": before + "\n"}[edited]
    assert changed != before
    try:
        with training(project, *command) as process:
            file.unlink()  # DVC may have linked it to its cache
            file.write_text(changed)
            code = process.wait(120)
        said = (project.root / "training.log").read_text()
        if edited == "input":
            assert code != 0 and lock.read_bytes() == recorded and "while stage base32 ran" in said, said
            assert "base32" in project.stale()
            return
        # DVC's own record would be of the new parameters, so DVC is told of a failure. Code it has looked at before.
        assert (code == 0) == ((door, edited) != ("dvc", "parameter")), said
        known = yaml.safe_load(lock.read_text())["stages"]["base32"]["params"][PARAMETERS]["base32"]["training"]
        assert known["steps"] == steps and "lr" not in known
        assert set(project.stale()) >= ({"base32"} if edited == "parameter" else {"code"})
        file.write_text(before)
        assert executed(project(*TRAIN)) == []
    finally:
        file.unlink()
        file.write_text(before)
        parameters.write_text(start)
        assert executed(project.kedro()) == []
