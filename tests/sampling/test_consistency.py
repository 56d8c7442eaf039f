from __future__ import annotations

import math

import pytest
import torch

from cdm_kedro.sampling.job import consistency, consistency_sums


def test_consistency_of_known_images() -> None:
    low = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    high = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    assert "psnr_to_input_db" not in consistency(consistency_sums(high, low))
    high[:, 0] += 10
    found = consistency(consistency_sums(high, low) + consistency_sums(high, low))
    assert found["colour_shift_red"] == 10 and found["colour_shift_green"] == 0
    assert found["psnr_to_input_db"] == pytest.approx(10 * math.log10(255**2 / (100 / 3)))
