"""Parameters of classifiers."""

from __future__ import annotations

import pytest

from cdm_kedro.params.cas import CasParams


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="warmup_steps 5 must be below steps 5"):
        CasParams(resolutions=[], steps=5, warmup_steps=5, batch_size=1)
    for number in (0, "val"):
        with pytest.raises(ValueError, match="num_samples"):
            CasParams.model_validate({"resolutions": [], "steps": 5, "batch_size": 1, "num_samples": number})
