"""A table from the command line: its stages, its rows as runs, its files, and nothing twice."""

from __future__ import annotations

import csv
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_a_table_is_made_row_by_row(project: Any) -> None:
    table = ("kedro", "run", "--pipeline=table3", "--env=test")
    output = project(*table)
    for stage in ("table3_states", "table3_truncated_s501", "table3_table"):
        assert f"{stage}: running" in output
    folder = project.root / "data/env/test/08_reporting/tables"
    (row,) = csv.DictReader((folder / "table3.csv").open())
    assert (row["row"], row["s"], row["truncated"], row["n"]) == ("truncated_s501", "10", "True", "10")
    assert (row["paper_fid_train"], row["paper_inception_score_std"]) == ("1.48", "1.97")
    assert "Table 3" in (folder / "table3.html").read_text() and (folder / "table3.png").stat().st_size > 1000
    run = next(r for r in project.runs() if r.info.run_name == "table3_truncated_s501")
    assert run.info.status == "FINISHED" and run.data.metrics["n"] == 10
    again = project(*table)
    assert "table3_truncated_s501: fresh" in again and "running" not in again
    elsewhere = project("kedro", "run", "--pipeline=figure7", "--env=test", fails=True)
    assert "it exists with --env=ablation16to64 or --env=imagenet_ablation16to64" in elsewhere
