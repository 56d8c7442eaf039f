from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # FFCV's compilation costs seconds a process and changes no result
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    import torch

    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy gradients, 300 x 280, as PNG: exact pixels."""
    from PIL import Image

    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for c in range(3):
            folder = root / split / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(count):
                ramp = np.linspace(0, 200, 300)[None, :, None] * np.roll([1.0, 0.6, 0.2], c)
                pixels = (ramp + rng.integers(0, 55, (280, 300, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def betons(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The preprocessed image folder."""
    from cdm_kedro.data.preprocess import preprocess_folder
    from cdm_kedro.params.data import PreprocessParams

    result = preprocess_folder(image_folder, tmp_path_factory.mktemp("betons"), PreprocessParams(workers=2))
    return result["files"]


COPIED = ("conf", "src", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "pyproject.toml", ".telemetry")


class Project:
    """A copy of the project, used through its command lines as a user would."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(root / "src"),
            "NO_COLOR": "1",
            "COLUMNS": "300",
        }
        for name in ("KEDRO_ENV", "DVC_STAGE", "DVC_ROOT", "MLFLOW_TRACKING_URI"):
            self.env.pop(name, None)

    def __call__(self, *command: str, fails: bool = False, **env: str) -> str:
        """Run; returns standard output and error together."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.env, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=400,
        )
        assert (done.returncode != 0) == fails, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def kedro(self, *more: str, fails: bool = False) -> str:
        return self("kedro", "run", "--pipelines=cascade", "--env=test", *more, fails=fails)

    def stale(self) -> dict[str, Any]:
        """Stages that `dvc status` calls stale, upstream or not."""
        found = json.loads(self("dvc", "status", "--json", "dvc/test/dvc.yaml"))
        return {name.split(":")[-1]: why for name, why in found.items()}

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, (path, old)
        file.write_text(text.replace(old, new))

    def runs(self) -> list[Any]:
        """MLflow's runs, newest first."""
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{self.root}/mlflow.db")
        experiment = client.get_experiment_by_name("cdm-kedro")
        return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny cascade of conf/test, run once from end to end with `kedro run`."""
    root = tmp_path_factory.mktemp("project") / "cdm"
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "dvc.lock", "local")
            )
        elif source.exists():
            shutil.copy(source, target)
    project = Project(root)
    for command in (
        ("git", "init", "-q"),
        ("git", "config", "user.email", "a@b"),
        ("git", "config", "user.name", "t"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "start"),
    ):
        project(*command)
    (root / "first.log").write_text(project.kedro())
    return project
