"""Searches that contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest

from cdm_kedro.params.search import SearchScheduleParams, SearchTruncationParams

JOB = {"num_samples": 2, "stage": "sr", "stages": {"base": {}, "sr": {}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s": [5, 5]}, "without repetition"),
        ({"s": [-1]}, "greater than or equal to 0"),
        ({"modes": ["truncated", "truncated"]}, "without repetition"),
        ({"modes": ["train"]}, "only real images"),
        ({"stage": "top"}, "no entry in stages"),
        ({"stages": {"base": {}, "sr": {"s": "best"}}}, "a search needs numbers"),
    ],
)
def test_contradictory_searches_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchTruncationParams.model_validate({**JOB, "s": [0, 5, 10], **changes})


def test_values_that_cannot_be_searched_are_refused() -> None:
    for steps in ([0], [2, 2], []):
        with pytest.raises(ValueError, match="steps"):
            SearchScheduleParams.model_validate({**JOB, "steps": steps})
    for betas in ([0.0], [1.0], []):
        with pytest.raises(ValueError, match="beta_end"):
            SearchScheduleParams.model_validate({**JOB, "steps": [2], "beta_end": betas})
