"""The training node of a stage that selects weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.params.model import SelectionParams
from cdm_kedro.pipelines.train.nodes import make_train
from cdm_kedro.pipelines.train.selecting import RUNS_MODULES, make_selecting_train
from cdm_kedro.provenance.digests import source_files


def test_lineage_counts_evaluation_only_where_weights_are_selected() -> None:
    source = Path(__file__).resolve().parents[3] / "src"

    def files(function: Any) -> set[str]:
        return {str(path.relative_to(source / "cdm_kedro")) for path in source_files(function.__module__, source)}

    plain, selecting = files(make_train("sr64")), files(make_selecting_train("sr64"))
    assert "training/worker.py" in plain and plain < selecting
    assert not any(name.startswith(("evaluation/", "sampling/", "diffusion/samplers")) for name in plain)
    assert {
        "evaluation/selection.py",
        "evaluation/statistics.py",
        "evaluation/extractors/make.py",
        "sampling/philox.py",
    } <= selecting
    assert RUNS_MODULES == ("cdm_kedro.evaluation.selection",)
    with pytest.raises(ValueError, match="every"):
        SelectionParams(every=0)
