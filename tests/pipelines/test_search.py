"""A search from the command line: its stages, its runs, its artefacts, and sampling that takes what it found."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.e2e
PARAMETERS = "conf/test/parameters.yml"


@pytest.fixture(autouse=True)
def _left_fresh(project: Any) -> Any:
    kept = (project.root / PARAMETERS).read_text()
    yield
    (project.root / PARAMETERS).write_text(kept)
    project.kedro()
    assert project.stale() == {}


def test_search_then_sample_with_the_best(project: Any) -> None:
    search = ("kedro", "run", "--pipeline=search_truncation", "--env=test")
    output = project(*search)
    assert "search_truncation_scores: running" in output and "search_truncation_figure: running" in output
    folder = project.root / "data/env/test/08_reporting/search"
    rows = (folder / "truncation.csv").read_text().splitlines()
    names = ["none,0", "truncated,10", "val,0", "val,10"]
    assert rows[0].startswith("conditioning,s,") and [",".join(r.split(",")[:2]) for r in rows[1:]] == names
    numbers = list(csv.DictReader((folder / "truncation.csv").open()))
    paper = [numbers[0][f"paper_{key}"] for key in ("fid_train", "fid_val", "inception_score", "inception_score_std")]
    assert paper == ["1.71", "2.46", "61.34", "1.58"]  # Table 3a
    again = {f"{row['conditioning']},{row['s']}" for row in numbers if row["report_n"] == "11"}
    assert {"none,0", "truncated,10"} < again and len(again) == 3  # the best of each way of conditioning
    assert Image.open(folder / "truncation.png").width == 960
    best = json.loads((folder / "truncation_best.json").read_text())
    assert best["stage"] == "sr64" and best["values"]["s"] in (0, 10) and len(best["git_commit"]) == 40
    runs = project.runs()
    own = next(r for r in runs if r.info.run_id == best["mlflow_run"])
    assert own.data.tags["cdm.key"] == best["key"] and own.info.status == "FINISHED"
    points = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId") == own.info.run_id}
    expected = {name.replace(",", "_s") for name in names} | {f"{name.replace(',', '_s')}_report" for name in again}
    assert set(points) == expected
    for name, point in points.items():
        n = 11 if name.endswith("_report") else 10
        assert point.info.status == "FINISHED" and point.data.metrics["n"] == n and "s" in point.data.params
    assert "search_truncation_scores: fresh" in project(*search)

    project.edit(PARAMETERS, "sr64: {steps: 4, s: 10, truncated: true}", "sr64: {steps: 4, s: best}")
    output = project("kedro", "run", "--pipelines=sample", "--env=test")
    assert "sample: running" in output
    assert "08_reporting/search/truncation_best.json" in (project.root / "dvc/test/dvc.yaml").read_text()
