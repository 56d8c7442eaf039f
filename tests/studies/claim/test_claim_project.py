"""The claim from the command line, at the tiny size: every stage of it, its artefacts, and what an edit reruns."""

from __future__ import annotations

import csv
import html
import json
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.e2e
PARAMETERS = "conf/test/parameters.yml"
STAGES = ("budget", "baseline", "classifier", "reference", "extractors", "seed0", "report")


@pytest.fixture(autouse=True)
def _left_fresh(project: Any) -> Any:
    kept = (project.root / PARAMETERS).read_text()
    yield
    (project.root / PARAMETERS).write_text(kept)
    assert project.stale() == {}


def test_the_claim_runs_and_only_what_an_edit_touches_runs_again(project: Any) -> None:
    # One seed first: a second is one stage more, and the page.
    project.edit(PARAMETERS, "seeds: [0, 1]", "seeds: [0]")
    output = project("kedro", "run", "--pipeline=claim", "--env=test")
    assert "sr64: fresh, skipped" in output and "training of" not in output
    for stage in STAGES:
        assert f"claim_{stage}: running" in output
    assert "sample:" not in output and "evaluate:" not in output  # the cascade's own evaluation is not needed
    project.edit(PARAMETERS, "seeds: [0]", "seeds: [0, 1]")
    output = project("kedro", "run", "--pipeline=claim", "--env=test")
    assert "claim_seed1: running" in output and "claim_report: running" in output
    for stage in STAGES[:-1]:
        assert f"claim_{stage}: fresh, skipped" in output
    status = json.loads(project("dvc", "status", "--json", "dvc/test/claim/dvc.yaml"))
    assert status == {}

    folder = project.root / "data/env/test/08_reporting/claim"
    budget = json.loads((folder / "budget.json").read_text())
    flops = {name: model["training_flops"] for name, model in budget["models"].items()}
    assert set(flops) == {"base32", "sr64", "claim_baseline"}
    # Tiny models are trained for a handful of steps: half a step of the baseline is the rounding.
    step = flops["claim_baseline"] / budget["steps"]
    assert abs(flops["claim_baseline"] - flops["base32"] - flops["sr64"]) <= step / 2
    card = json.loads((project.root / "data/env/test/06_models/claim_baseline.json").read_text())
    assert card["steps"] == budget["steps"] and card["params"]["low"] is None

    rows = list(csv.DictReader((folder / "table.csv").open()))
    points = [(row["conditioning"], int(row["s"])) for row in rows]
    generated = [(mode, s) for mode in ("truncated", "non_truncated") for s in (10, 20)]
    assert points == [("none", 0), *generated, *(("val", s) for s in (0, 10, 20)), ("single", 0)]
    for row in rows:
        assert row["seeds"] == "2" and row["n_per_seed"] == "10"
        for name in ("fd_efficientnet_lite0_64px_train", "fd_classifier_64px_train"):
            assert float(row[name]) > 0 and float(row[f"{name}_ci95"]) >= 0
    seeds = [(folder / f"seed{seed}.csv").read_text().splitlines() for seed in (0, 1)]
    assert seeds[0][1] != seeds[1][1]  # other noise, other scores

    said = json.loads((folder / "statements.json").read_text())
    assert [statement["key"] for statement in said["statements"]] == ["i", "ii", "iii", "iv", "v"]
    for statement in said["statements"]:
        assert set(statement["by"]) == {"efficientnet_lite0_64px", "classifier_64px"}
    noticed = json.loads((folder / "extractors.json").read_text())
    assert set(noticed) == {"efficientnet_lite0_64px", "classifier_64px"}
    assert all(value > 0 for own in noticed.values() for value in own.values())
    page = (folder / "claim.html").read_text()
    for statement in said["statements"]:
        assert html.escape(statement["text"]) in page and statement["verdict"] in page
    assert "http" not in page.replace("http-equiv", "")  # no external assets
    assert Image.open(folder / "claim.png").info["Description"].startswith("Fréchet distance against s")
    assert Image.open(folder / "pictures.png").height > 500

    runs = project.runs()
    own = next(run for run in runs if run.info.run_name == "claim_seed1")
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == own.info.run_id]
    assert {run.info.run_name for run in children} == {
        "single",
        "none_s0",
        *(f"{mode}_s{s}" for mode, s in generated),
        *(f"val_s{s}" for s in (0, 10, 20)),
    }


def test_mistakes_are_told_before_work_starts(project: Any) -> None:
    claim = ("kedro", "run", "--pipeline=claim", "--env=test")
    project.edit(PARAMETERS, "    s: [0, 10, 20]", "    s: [10, 20, 30]")
    output = project(*claim, fails=True)
    assert "must hold 0" in output and "Traceback" not in output and "running" not in output
    project.edit(PARAMETERS, "    s: [10, 20, 30]", "    s: [0, 10, 20]")
    project.edit(
        PARAMETERS,
        "    baseline: {steps: 2}\n  baseline:\n    resolution: 64",
        "    baseline: {steps: 2}\n  baseline:\n    resolution: 32",
    )
    output = project(*claim, fails=True)
    assert "claim.baseline.resolution is 32; sr64 models 64 pixels" in output and "Traceback" not in output
    project.edit(
        PARAMETERS,
        "    baseline: {steps: 2}\n  baseline:\n    resolution: 32",
        "    baseline: {steps: 2}\n  baseline:\n    resolution: 64",
    )
    project.edit(PARAMETERS, "    s: [0, 10, 20]", "    s: [0, 10, 51]")
    output = project(*claim, fails=True)
    assert "claim.sweep.s holds 51" in output and "Traceback" not in output and "running" not in output
    output = project("kedro", "run", "--pipeline=claim", fails=True)
    assert "no pipeline 'claim' in environment base" in output and "--env=" in output and "Traceback" not in output
