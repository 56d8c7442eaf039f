"""Sizes that preprocessing cannot store."""

from __future__ import annotations

import pytest

from cdm_kedro.params.data import PreprocessParams


def test_sizes_that_do_not_divide_the_crop_are_refused() -> None:
    for sizes in ([48], [16, 16]):
        with pytest.raises(ValueError, match="different divisors of 256"):
            PreprocessParams.model_validate({"resolutions": sizes})
