from __future__ import annotations

from pathlib import Path

import pytest

from cdm_kedro.errors import CdmError
from cdm_kedro.sampling.best import resolve_best
from tiny_cascade import sampling


def test_best_values_are_filled_in(models: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    from cdm_kedro.files.hashes import sha256

    digests = {name: sha256(models[name]) for name in ("base", "sr")}
    found = {"stage": "sr", "values": {"s": 5, "truncated": False}, "models": digests}
    asked = sampling(stages={"sr": {"s": "best"}})
    filled = resolve_best(asked, {"search_truncation": found}, models)
    assert (filled.stages["sr"].s, filled.stages["sr"].truncated, filled.stages["sr"].steps) == (5, False, 4)
    assert filled.stages["top"] == asked.stages["top"] and caplog.text == ""
    resolve_best(asked, {"search_truncation": {**found, "models": {**digests, "sr": "0"}}}, models)
    assert "search_truncation was run with other weights of sr" in caplog.text
    with pytest.raises(CdmError, match=r"kedro run --pipeline=search_truncation"):
        resolve_best(asked, {}, models)
    with pytest.raises(CdmError, match="which searched base"):
        resolve_best(asked, {"search_truncation": {**found, "stage": "base"}}, models)
    both = sampling(stages={"top": {"schedule": "best"}})
    values = {"stage": "top", "models": {}, "values": {"schedule": "log", "beta_end": 0.4, "steps": 7}}
    top = resolve_best(both, {"search_schedule": values}, models).stages["top"]
    assert (top.schedule, top.beta_start, top.beta_end, top.steps) == ("log", 0.01, 0.4, 7)
