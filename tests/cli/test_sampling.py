"""`kedro sample-class` and `kedro upsample`: pictures from the trained models, on the tiny cascade."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
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
    several = ("0", classes[3], "-n", "2", "--steps=2", "--sampler=ddim", "--s=5", "--animate=a.gif")
    assert "wrote a.gif" in project("kedro", "sample-class", *several, "--env=test", "--out=several", "--seed=7")
    assert len(list((project.root / "several").glob("*px.png"))) == 2 * 2 * 4
    assert Image.open(project.root / "several/grid_7.png").height > 2 * 256  # a row for each class
    assert Image.open(project.root / "several/sizes_7.png").height > 4 * 256  # a row for each picture
    with Image.open(project.root / "a.gif") as film:
        assert (
            film.height == 2 * 259 and film.width > 2 * 256 and film.n_frames == 4 * 3
        )  # state and x_0, two classes; two steps and the end
    assert "must end in .gif or .png" in project("kedro", "sample-class", "0", "--animate=a.mp4", fails=True)
    assert "no class 'unicorn'; there are 10" in project("kedro", "sample-class", "unicorn", "--env=test", fails=True)


def test_upsample_enlarges_own_pictures(project: Any, tmp_path: Path) -> None:
    for name, size in (("small.png", (40, 50)), ("deep/exact.png", (64, 64)), ("deep/large.jpg", (300, 200))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / name)
    said = project("kedro", "upsample", str(tmp_path), "--class=2", "-n", "2", "--seed=3", "--env=test")
    assert "small.png: 40 x 50; its centre square was reduced to 32 x 32" in said
    assert "deep_exact.png: taken as it is, 64 x 64" in said
    assert "deep_large.jpg: 300 x 200; its centre square was reduced to 64 x 64" in said
    assert len(re.findall(r"PSNR [\d.]+ dB, colour shift red [-+][\d.]+, green [-+][\d.]+, blue", said)) == 3
    out = project.root / "upsampled"
    made = sorted(path.name for path in out.glob("*px.png"))
    assert len(made) == 6 and "deep_exact.png_3_1_256px.png" in made
    assert {Image.open(out / name).size for name in made} == {(256, 256)}
    assert Image.open(out / "sheet.png").width > 4 * 256  # input, bicubic and two of ours
    smaller = ("--from=32", "--to=64", "--s=20", "--out=smaller", "-n", "1")
    project("kedro", "upsample", str(tmp_path / "deep/large.jpg"), "--class=2", *smaller, "--env=test")
    assert Image.open(project.root / "smaller/large.jpg_0_0_64px.png").size == (64, 64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "give --class; there are 10: balloon"),
        (["--class=unicorn"], "no class 'unicorn'"),
        (["--class=0", "--to=100"], "--to is 100; this cascade enlarges to [64, 128, 256]"),
        (["--class=0", "--from=100"], "--from is 100; what 256 pixels are made from is [32, 64]"),
        (["--class=0", "--from=32", "--s=51"], "sr64.s is 51; sr64 was trained for s: 0 to 50"),
        (["--class=0", "--out=dvc.yaml/below"], "dvc.yaml: a file, where a folder belongs"),
        (["--class=0", "--out=in_the_way"], "in_the_way/sheet.png: a folder, where a file belongs; move it away"),
    ],
)
def test_what_upsample_cannot_do_is_refused_before_work(project: Any, options: list[str], says: str) -> None:
    (project.root / "in_the_way/sheet.png").mkdir(parents=True, exist_ok=True)
    own = next((project.root / "data/env/test/01_raw/embedded/val").rglob("*.jpg"))
    said = project("kedro", "upsample", str(own), *options, "--env=test", fails=True)
    assert says in said and "Traceback" not in said and "upsampled" not in said


def test_two_pictures_do_not_become_one_file(project: Any, tmp_path: Path) -> None:
    own = next((project.root / "data/env/test/01_raw/embedded/val").rglob("*.jpg"))
    for name in ("a/b.jpg", "a_b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(own, tmp_path / name)
    said = project("kedro", "upsample", str(tmp_path), "--class=0", "--env=test", fails=True)
    assert "two pictures would be written as a_b.jpg" in said


def test_side_by_side_shows_samples_beside_others(project: Any) -> None:
    theirs = "data/env/test/01_raw/embedded/val"
    output = project(
        "kedro", "side-by-side", "0", "3", f"--beside=real={theirs}", "--columns=1", "--env=test", "--out=figure6.png"
    )
    assert "wrote figure6.png" in output
    assert Image.open(project.root / "figure6.png").height > 4 * 112  # two classes, ours and theirs
    assert "no class 'unicorn'" in project("kedro", "side-by-side", "unicorn", "--env=test", fails=True)
