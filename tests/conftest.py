from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from project import ROOT, Project, new_project

sys.path += [str(room) for room in sorted((ROOT / "tests").iterdir()) if room.is_dir()]  # for what their tests share
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # FFCV's compilation costs seconds a process and changes no result
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads that spin slow everything down on a shared core
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")


LONGEST = ("provenance/test_two_doors.py", "provenance/test_edits.py", "docs/test_docs.py", "cli/test_sampling.py")
LONGEST += ("tracking/test_tracked_project.py", "interfaces/test_browser.py", "cli/test_estimate.py")
"""Files of a minute and more: with `--dist loadfile` they go first, so that no process waits for one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    order = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    import torch

    torch.set_num_threads(2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs root to mount a file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


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


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny cascade of conf/test, run once from end to end with `kedro run`."""
    project = new_project(tmp_path_factory.mktemp("project") / "cdm")
    (project.root / "first.log").write_text(project.kedro())
    project.by_door = True
    return project
