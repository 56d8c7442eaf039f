"""`kedro jupyter` where Jupyter is not installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from project import ROOT


@pytest.mark.skipif(find_spec("jupyterlab") is not None, reason="Jupyter is installed")
def test_kedro_jupyter_says_what_to_install() -> None:
    kedro = str(Path(sys.executable).with_name("kedro"))
    done = subprocess.run([kedro, "jupyter", "lab"], cwd=ROOT, capture_output=True, text=True)
    said = "Error: jupyterlab is not installed: pip install -c constraints.txt notebook"
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    shown = subprocess.run([kedro, "jupyter", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert "Open Jupyter Lab" in shown.stdout
