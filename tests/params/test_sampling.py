"""Settings of sampling that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from cdm_kedro.params.sampling import ModelSamplingParams


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"s": -1}, "s is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"s": 3, "truncated": True, "conditioning": "train"}, "real images are noised"),
        ({"beta_start": 0.3, "beta_end": 0.2}, "beta_start 0.3 must be below beta_end 0.2"),
        ({"variance": "large", "sampler": "ddim"}, "variance is about sampler: ancestral; ddim has none"),
        ({"resample_from": 3, "sampler": "ddim"}, "needs sampler: ancestral"),
    ],
)
def test_contradictory_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSamplingParams.model_validate(values)
