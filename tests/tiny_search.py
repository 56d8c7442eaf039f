"""A small search over the tiny cascade."""

from __future__ import annotations

from typing import Any

from cdm_kedro.params.search import SearchTruncationParams

BASE = {"num_samples": 6, "batch_size": 4, "precision": "fp32", "devices": 1}
STAGES = {"base": {"steps": 40}, "sr": {"steps": 4}}


def truncation(**changes: Any) -> SearchTruncationParams:
    raw = {**BASE, "stage": "sr", "stages": STAGES, "s": [0, 5, 10], **changes}
    return SearchTruncationParams.model_validate(raw)
