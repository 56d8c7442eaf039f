from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.tracking import recorder as module
from cdm_kedro.tracking.recorder import Recorder, SystemMetrics


def test_a_long_stage_logs_the_load_of_the_machine(
    root: Path, runs: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AFTER_SECONDS", 0.05)
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.2)
    recorder = Recorder(root)
    recorder.submit(op="create", run="r", parent=None, name="long", tags={})
    metrics = SystemMetrics(recorder, "r")
    deadline = time.monotonic() + 60
    while "long" not in runs() or "system/cpu_utilization_percentage" not in runs()["long"].data.metrics:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    metrics.stop()
    recorder.flush()
    found = runs()["long"].data.metrics
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    assert found["system/system_memory_usage_megabytes"] > 100
    count = len(found)
    time.sleep(0.5)
    assert len(runs()["long"].data.metrics) == count


def test_a_short_stage_imports_and_logs_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from cdm_kedro.tracking.recorder import SystemMetrics\n"
        "metrics = SystemMetrics(None, 'r')\n"
        "metrics.stop()\n"
        "assert not metrics._thread.is_alive() and 'mlflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
