"""`kedro estimate`, and what `kedro run` says of the time that is left."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

pytestmark = pytest.mark.e2e
BASE = "training: {steps: 6, batch_size: 8, ema_decay: 0.9, log_every: 2}"


def test_stale_stages_are_measured_and_a_run_says_how_long_they_take(project: Any) -> None:
    known = project.root / ".scratch/test/durations.json"
    former = json.loads(known.read_text())  # of the run that made the project, and of other tests' pipelines
    assert set(project.stages()) <= set(former)
    project.edit("conf/test/parameters.yml", BASE, BASE.replace("steps: 6", "steps: 60000"))
    try:
        said = project("kedro", "estimate", "--env=test")
    finally:
        project.edit("conf/test/parameters.yml", BASE.replace("steps: 6", "steps: 60000"), BASE)
    rows = {line.split()[0]: line.split()[1:] for line in reversed(said.splitlines()) if line[:1].isalpha()}
    assert rows["preprocess"] == rows["sr64"] == ["done"]
    time, unit, hours = rows["base32"][:3]
    seconds = float(time) * {"s": 1, "min": 60, "h": 3600, "days": 86400}[unit]
    assert float(hours) == pytest.approx(seconds / 3600, rel=0.1, abs=0.01)
    assert re.search(
        r"base32 .* M parameters, [0-9.]+ GiB of memory, 0.00 of disk, sees images 16000 times; warning", said
    )
    assert "warning: 10 classes have fewer than 100 images: balloon (3)" in said
    estimated = json.loads(known.read_text())
    assert estimated["base32"][1] == 60000 * 8 and set(estimated) == set(former)
    project.edit("conf/test/parameters.yml", "grids: {columns: 1}", "grids: {columns: 7}")
    try:
        said = project.kedro()
        assert re.search(r"^about \d+ (s|min) left$", said, re.M), said
        assert json.loads(known.read_text())["grids"] != former["grids"]
    finally:
        project.edit("conf/test/parameters.yml", "grids: {columns: 7}", "grids: {columns: 1}")
        project.kedro()
