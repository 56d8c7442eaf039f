"""`kedro sample-class`: pictures from the trained models, on the tiny cascade."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.e2e


def test_sample_class_writes_pictures(project: Any) -> None:
    classes = json.loads((project.root / "data/env/test/05_model_input/classes.json").read_text())
    output = project("kedro", "sample-class", classes[3], "-n", "2", "--env=test", "--out=pictures", "--seed=7")
    assert "wrote 8 images to pictures" in output
    for i in range(2):
        for side in (32, 64, 128, 256):
            assert Image.open(project.root / f"pictures/{classes[3]}_7_{i}_{side}px.png").size == (side, side)
    again = project("kedro", "sample-class", "3", "-n", "1", "--env=test", "--out=again", "--seed=7")
    assert "wrote 4 images" in again
    name = f"{classes[3]}_7_0_32px.png"
    a, b = (np.asarray(Image.open(project.root / folder / name)).astype(int) for folder in ("again", "pictures"))
    assert abs(a - b).max() <= 4  # the same image; another batch size may round otherwise
    several = ("0", classes[3], "-n", "2", "--steps=2", "--sampler=ddim", "--s=5")
    project("kedro", "sample-class", *several, "--env=test", "--out=several", "--seed=7")
    assert len(list((project.root / "several").glob("*px.png"))) == 2 * 2 * 4
    assert Image.open(project.root / "several/grid_7.png").height > 2 * 256  # a row for each class
    assert Image.open(project.root / "several/sizes_7.png").height > 4 * 256  # a row for each picture
    assert "no class 'unicorn'; there are 10" in project("kedro", "sample-class", "unicorn", "--env=test", fails=True)


def test_side_by_side_shows_samples_beside_others(project: Any) -> None:
    theirs = "data/env/test/01_raw/embedded/val"
    output = project(
        "kedro", "side-by-side", "0", "3", f"--beside=real={theirs}", "--columns=1", "--env=test", "--out=figure6.png"
    )
    assert "wrote figure6.png" in output
    assert Image.open(project.root / "figure6.png").height > 4 * 112  # two classes, ours and theirs
    assert "no class 'unicorn'" in project("kedro", "side-by-side", "unicorn", "--env=test", fails=True)
