"""`kedro package`: the wheel and the archive of the configuration make the whole tiny cascade in an empty folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # it makes the cascade twice
OUTPUTS = ("05_model_input/*.beton", "06_models/*.safetensors", "07_model_output/samples_*.npz", "08_reporting/*.png")


def hashes(data: Path) -> dict[str, str]:
    files = sorted(path for pattern in OUTPUTS for path in data.glob(pattern))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_wheel_makes_the_cascade_in_an_empty_folder(project: Any, tmp_path: Path) -> None:
    import mlflow

    for name in ("README.md", "LICENSE"):
        (project.root / name).write_bytes((ROOT / name).read_bytes())
    project("kedro", "package")
    (wheel,) = (project.root / "dist").glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(install, check=True)
    subprocess.run(["tar", "xzf", project.root / "dist/conf-cdm_kedro.tar.gz", "-C", tmp_path], check=True)
    command = [sys.executable, "-m", "cdm_kedro", f"--conf-source={tmp_path}/conf", "--env=test"]
    env = {**project.env, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=empty, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    made = hashes(empty / "data/env/test")
    assert len(made) > 15 and made == hashes(project.root / "data/env/test")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{empty}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("cdm-kedro").experiment_id])
    found = {run.info.run_name: run.info.status for run in runs}
    assert found == {"cascade": "FINISHED", "cascade --env=test": "FINISHED"}
    assert not list(empty.glob(".scratch/processes/*/*"))
    assert {path.name for path in empty.iterdir()} == {"data", "mlflow.db", "mlruns", ".scratch"}
