"""How many GPUs there are, on machines that show them in different ways."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

from cdm_kedro.processes.launch import processes_wanted, visible_gpus

THREE = (
    "#!/bin/sh\nfor i in 0 1 2; do echo \"GPU $i: NVIDIA A100 (UUID: GPU-$i)\"; echo '  MIG 1g.5gb Device 0:'; done\n"
)


@pytest.fixture
def driver_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that lists three GPUs, as under WSL2, where neither /proc nor /dev shows them."""
    if torch.cuda.is_available():
        pytest.skip("this machine has GPUs of its own")
    tool = tmp_path / "nvidia-smi"
    tool.write_text(THREE)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


@pytest.mark.parametrize(
    ("visible", "found"),
    [(None, 3), ("0", 1), ("2,0", 2), ("", 0), ("-1", 0), ("1,-1,2", 1), ("0,1,2,3,4", 3), ("GPU-8f2a, GPU-11", 2)],
)
def test_the_drivers_tool_counts_and_the_environment_chooses(
    driver_tool: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, found: int
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == found
    assert processes_wanted("auto") == max(1, found) and processes_wanted(2) == (min(2, found) or 2)


@pytest.mark.parametrize("script", ["#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n", "#!/bin/sh\necho none\n"])
def test_a_driver_that_fails_shows_no_gpu(driver_tool: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver_tool.write_text(script)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # left over from another machine
    assert visible_gpus() == 0 and processes_wanted("auto") == 1


def test_the_drivers_library_counts_first(driver_tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text("def nvmlInit(): ...\ndef nvmlDeviceGetCount(): return 5\n")
    spec = importlib.util.spec_from_file_location("pynvml", tmp_path / "pynvml.py")
    assert spec is not None and spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert visible_gpus() == 5
