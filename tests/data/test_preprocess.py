"""Folders to FFCV files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cdm_kedro.data.beton import read_beton
from cdm_kedro.data.crop import crops, decode
from cdm_kedro.data.preprocess import preprocess_folder
from cdm_kedro.data.resample import downsample
from cdm_kedro.errors import CdmError
from cdm_kedro.files.hashes import sha256
from cdm_kedro.params.data import PreprocessParams


def test_files_agree_with_the_pictures_and_each_other(image_folder: Path, betons: dict[str, Path]) -> None:
    images, labels = read_beton(betons["train_256"])
    assert images.shape == (18, 256, 256, 3) and sorted(labels.tolist()) == sorted([0, 1, 2] * 6)
    assert labels.tolist() != sorted(labels.tolist())  # shuffled on write
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    for resolution in (128, 64, 32):
        lower, lower_labels = read_beton(betons[f"train_{resolution}"])
        assert np.array_equal(lower_labels, labels)
        assert np.array_equal(lower, downsample(planes, resolution).permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("resize", ["bilinear", "guided_diffusion"])
def test_every_stored_size_is_made_as_asked(image_folder: Path, tmp_path: Path, resize: str) -> None:
    params = PreprocessParams(resize=resize, resolutions=(64, 32), workers=1)
    made = preprocess_folder(image_folder, tmp_path, params)
    paths = sorted((image_folder / "val").rglob("*.png"))
    for side in (64, 32):
        found = {image.tobytes() for image in read_beton(made["files"][f"val_{side}"])[0]}
        wanted = {crops(decode(path, True), resize, [side])[side].tobytes() for path in paths}
        assert found == wanted and len(found) == len(paths)
    named = {"bilinear": "BigGAN-PyTorch", "guided_diffusion": "guided-diffusion"}[resize]
    assert named in made["data_card"]["crop"]["resize"]


def test_bytes_are_reproducible(image_folder: Path, betons: dict[str, Path], tmp_path: Path) -> None:
    again = preprocess_folder(image_folder, tmp_path, PreprocessParams(workers=1))
    for name, path in again["files"].items():
        assert sha256(path) == sha256(betons[name]) == again["data_card"]["betons"][name]["sha256"]


def test_broken_images(image_folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    (root / "train/class0/broken.jpg").write_bytes(b"not an image")
    (root / "val/class1/empty.png").write_bytes(b"")
    small = np.full((90, 100, 3), 7, np.uint8)
    Image.fromarray(small).save(root / "train/class1/small.png")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CdmError) as error:
        preprocess_folder(root, out, PreprocessParams(workers=2))
    text = str(error.value)
    assert "train/class0/broken.jpg: not an image" in text and "val/class1/empty.png: the file is empty" in text
    assert "on_bad_image: skip" in text and not list(out.glob("*.beton"))
    result = preprocess_folder(root, out, PreprocessParams(workers=2, on_bad_image="skip"))
    card = result["data_card"]
    assert card["rejected"]["train"] == {"train/class0/broken.jpg": "not an image that Pillow can identify"}
    assert card["conversions"]["train"] == {"upsampled": 1}
    assert card["per_class"]["train"] == {"class0": 6, "class1": 7, "class2": 6}
    images, labels = read_beton(result["files"]["train_32"])
    assert len(images) == 19 and not (images.reshape(19, -1) == 0).all(1).any()  # no filler left
    assert (images[labels == 1].reshape(7, -1) == 7).all(1).sum() == 1


def test_a_skipped_image_leaves_the_files_as_if_it_had_not_been_there(
    image_folder: Path, betons: dict[str, Path], tmp_path: Path
) -> None:
    """Every file is written at once: what is left out of one is left out of all."""
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    order = np.random.Generator(np.random.Philox(key=0)).permutation(18)
    broken = sorted((root / "train").rglob("*.png"))[order[0]]  # the first image of the file
    broken.write_bytes(b"broken")
    files = preprocess_folder(root, tmp_path, PreprocessParams(workers=2, on_bad_image="skip"))["files"]
    for name, path in betons.items():
        kept = slice(1, None) if name.startswith("train") else slice(None)
        assert all(np.array_equal(a, b[kept]) for a, b in zip(read_beton(files[name]), read_beton(path), strict=True))


def test_a_finished_split_is_kept(image_folder: Path, betons: dict[str, Path], tmp_path: Path) -> None:
    params = PreprocessParams(workers=2)
    first = preprocess_folder(image_folder, tmp_path, params)
    (tmp_path / "val_64.beton").unlink()  # as if interrupted there
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("train*")}
    assert preprocess_folder(image_folder, tmp_path, params) == first
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("train*")}
    assert sha256(tmp_path / "val_64.beton") == sha256(betons["val_64"])


@pytest.mark.parametrize("reserved", [True, False])
def test_a_full_disk_is_said_and_nothing_left(
    image_folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, reserved: bool
) -> None:
    """Before the work, or where the system cannot reserve room, in the middle of it."""
    if not reserved:
        monkeypatch.delattr("os.posix_fallocate")
    with pytest.raises(CdmError, match=r"small: no space left .* GB are needed .* make room and run again"):
        preprocess_folder(image_folder, small_disk, PreprocessParams(workers=2))
    assert list(small_disk.iterdir()) == []


@pytest.mark.usefixtures("worker_killed")
def test_a_killed_process_is_said_and_nothing_left(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CdmError, match=r"preprocessing .*: one of 2 worker processes was killed"):
        preprocess_folder(image_folder, tmp_path, PreprocessParams(workers=2))
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_out_is_said_and_recorded(
    image_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    (root / "val/class1/more").mkdir()
    (root / "val/class1/0.png").rename(root / "val/class1/more/0.png")
    card = preprocess_folder(root, tmp_path, PreprocessParams(workers=1, resolutions=(32,)))["data_card"]
    assert card["source"]["left_out"] == {"val/class1": {"in folders below a class": 1}}
    assert "1 file(s) in folders below a class left out, in val/class1" in caplog.text
