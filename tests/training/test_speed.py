"""What a training says of its speed."""

from __future__ import annotations

import pytest

from cdm_kedro.training import speed


def test_peaks_go_by_the_devices_name() -> None:
    assert speed.peak_tflops("NVIDIA H100 80GB HBM3") == 989.4
    assert speed.peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert speed.peak_tflops("NVIDIA A100-SXM4-80GB") == 311.9
    assert speed.peak_tflops("NVIDIA L40S") == 362.1
    assert speed.peak_tflops("Some other device") is None
    # 45 % of an H100: 10 GFLOPs forward at 14 841 images/s are 445 TFLOP/s
    found = speed.achieved(10e9, 14841, 1, 989.4)
    assert found["tflops"] == pytest.approx(445.23) and found["peak_share"] == pytest.approx(0.45, abs=1e-4)
    assert speed.achieved(10e9, 14841, 8, 989.4)["tflops"] == pytest.approx(445.23 / 8)
