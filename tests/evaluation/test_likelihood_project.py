"""`kedro run --pipeline=likelihood`: recorded, tracked, and stale when what it reads changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_likelihood_from_the_command_line(project: Any) -> None:
    command = ("kedro", "run", "--pipelines=likelihood", "--env=test")
    assert "likelihood: running" in project(*command)
    found = json.loads((project.root / "data/env/test/08_reporting/likelihood.json").read_text())
    assert list(found) == ["base32", "sr64", "sr128", "sr256"]
    assert found["sr64"]["s"] == 10 and found["sr64"]["truncated"] and found["sr64"]["n"] == 4
    assert 0 < found["sr64"]["bits_per_dim"] < found["sr64"]["cascade_bits_per_dim"]
    run = next(r for r in project.runs() if "sr64/bits_per_dim" in r.data.metrics)
    assert run.data.metrics["sr64/bits_per_dim"] == pytest.approx(found["sr64"]["bits_per_dim"])
    assert run.info.run_name == "likelihood" and run.info.status == "FINISHED"
    assert "fresh" in project(*command) and project.stale() == {}
