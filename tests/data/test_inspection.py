"""Looking at a folder of images, and choosing what is held out."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.data.beton import read_labels
from cdm_kedro.data.image_folder import Sample, scan, scan_undivided
from cdm_kedro.data.inspection import Seen, hold_out, look, report, small
from cdm_kedro.data.preprocess import preprocess_folder
from cdm_kedro.errors import CdmError
from cdm_kedro.params.data import PreprocessParams


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Sizes, formats, a broken file, and the same pixels as PNG and lossless WebP in both splits."""
    rng = np.random.default_rng(0)
    for part, count in (("train/a", 3), ("train/b", 2), ("val/a", 1), ("val/b", 1)):
        (tmp_path / part).mkdir(parents=True)
        for i in range(count):
            side = 300 + 20 * i
            pixels = Image.fromarray(rng.integers(0, 256, (side, 400, 3), dtype=np.uint8))
            pixels.save(tmp_path / part / f"{i}.png")
    Image.new("RGBA", (100, 90), (0, 0, 0, 0)).save(tmp_path / "train/a/clear.png")
    Image.open(tmp_path / "train/b/1.png").save(tmp_path / "val/b/again.webp", lossless=True)
    (tmp_path / "train/b/broken.jpg").write_bytes(b"\xff\xd8 no")
    (tmp_path / "train/b/notes.txt").write_text("")
    return tmp_path


def test_the_report_says_what_is_there_and_what_is_wrong(mixed: Path) -> None:
    folder = scan(mixed)
    said = "\n".join(report(folder, look(folder)))
    lines = said.splitlines()
    assert lines[0] == f"{mixed}: 10 images in 2 classes"
    assert [line.split() for line in lines[1:5]] == [
        ["split", "train", "val"],
        ["class"],
        ["b", "3", "2"],
        ["a", "4", "1"],
    ]
    for line in (
        "short side: 90 to 340 pixels, median 300",
        "formats: {'PNG': 8, 'WEBP': 1}",
        "conversions (alpha is laid over white): {'alpha': 1}",
        "warning: 1 images have a short side below 256 pixels and are enlarged",
        "1 file(s) of kind .txt left out, in train/b",
        "warning: 2 classes have fewer than 100 images: b (3), a (4)",
        "broken files: train/b/broken.jpg (not an image that Pillow can identify)",
        "in train and val: train/b/1.png = val/b/again.webp",
        "there more than once: train/b/1.png = val/b/again.webp",
    ):
        assert line in lines, said
    assert list(small(folder)) == ["warning: 1 of 7 images have a short side below 256 pixels and are enlarged"]
    (mixed / "train/a/clear.png").unlink()
    assert list(small(scan(mixed))) == []


def seen(contents: dict[str, str]) -> dict[str, Seen]:
    return {path: Seen(None, 1, 1, "PNG", content) if content else Seen("broken") for path, content in contents.items()}


def test_what_is_held_out_depends_on_pixels_and_seed_alone() -> None:
    samples = [Sample(f"{'ab'[label]}/{i}.png", label) for label, count in enumerate((50, 8)) for i in range(count)]
    contents = {path: f"pixels {path}" for path, _ in samples}
    contents |= {"a/1.png": "twice", "a/2.png": "twice", "b/3.png": ""}
    held = hold_out(samples, seen(contents), 0.1, 0)
    assert Counter(path[0] for path in held) in ({"a": 5, "b": 1}, {"a": 6, "b": 1}) and "b/3.png" not in held
    assert held == sorted(held) == hold_out(samples[::-1], seen(contents), 0.1, 0)
    several = [hold_out(samples, seen(contents), 0.1, seed) for seed in range(40)]
    assert len({tuple(paths) for paths in several}) > 30
    together = [{"a/1.png", "a/2.png"} & set(paths) for paths in several]
    assert {len(both) for both in together} == {0, 2}
    renamed = {path.replace("a/", "a/x"): content for path, content in contents.items()}
    other = [Sample(path, "ab".index(path[0])) for path in renamed]
    assert [path.replace("x", "") for path in hold_out(other, seen(renamed), 0.1, 0)] == held


def test_a_class_without_an_image_to_spare_is_named() -> None:
    samples = [Sample("a/0.png", 0), Sample("a/1.png", 0), Sample("b/0.png", 1), Sample("b/1.png", 1)]
    with pytest.raises(CdmError, match="b: has no image to spare"):
        hold_out(samples, seen({"a/0.png": "1", "a/1.png": "2", "b/0.png": "3", "b/1.png": "3"}), 0.1, 0)


def test_preprocessing_reads_the_list(image_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(image_folder / "train", tmp_path / "images")
    folder = scan_undivided(tmp_path / "images")
    (samples,) = folder.splits.values()
    held = hold_out(samples, look(folder), 0.3, 0)
    (tmp_path / "val.txt").write_text("".join(f"{path}\n" for path in held))
    params = PreprocessParams(resolutions=(32,), workers=1, val_files=str(tmp_path / "val.txt"))
    (tmp_path / "out").mkdir()
    made = preprocess_folder(tmp_path / "images", tmp_path / "out", params)
    assert Counter(read_labels(made["files"]["val_32"]).tolist()) == {0: 2, 1: 2, 2: 2}
    assert made["data_card"]["per_class"]["train"] == {"class0": 4, "class1": 4, "class2": 4}
