"""Folders to FFCV files."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cdm_kedro.data.beton import BetonError, check_beton, read_beton
from cdm_kedro.data.embedded.drawings import CLASSES
from cdm_kedro.data.embedded.generate import generate, render
from cdm_kedro.data.image_folder import FolderError, scan
from cdm_kedro.data.preprocess import BadImagesError, preprocess_folder
from cdm_kedro.data.resample import downsample
from cdm_kedro.files.hashes import sha256
from cdm_kedro.params.data import PreprocessParams


def test_scan_sorts_and_labels(image_folder: Path) -> None:
    folder = scan(image_folder)
    assert folder.classes == ["class0", "class1", "class2"]
    assert [len(folder.splits[s]) for s in ("train", "val")] == [18, 6]
    assert all(s.path.split("/")[1] == folder.classes[s.label] for s in folder.splits["train"])


def test_layout_errors_name_folder_and_fix(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"no such folder; `images` in conf"):
        scan(tmp_path / "missing")
    with pytest.raises(FolderError, match="train"):
        scan(tmp_path)
    for part in ("train/a", "val/a", "val/b"):
        (tmp_path / part).mkdir(parents=True)
    with pytest.raises(FolderError, match="holds no images"):
        scan(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "train/a/x.png")
    with pytest.raises(FolderError, match=r"\['b'\] do not occur"):
        scan(tmp_path)


def test_files_agree_with_the_pictures_and_each_other(image_folder: Path, betons: dict[str, Path]) -> None:
    images, labels = read_beton(betons["train_256"])
    assert images.shape == (18, 256, 256, 3) and sorted(labels.tolist()) == sorted([0, 1, 2] * 6)
    assert labels.tolist() != sorted(labels.tolist())  # shuffled on write
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    for resolution in (128, 64, 32):
        lower, lower_labels = read_beton(betons[f"train_{resolution}"])
        assert np.array_equal(lower_labels, labels)
        assert np.array_equal(lower, downsample(planes, resolution).permute(0, 2, 3, 1).numpy())


def test_ffcv_reads_what_our_reader_reads(betons: dict[str, Path]) -> None:
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import Squeeze, ToTensor

    loader = Loader(
        str(betons["val_64"]),
        batch_size=4,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        drop_last=False,
        pipelines={"image": [SimpleRGBImageDecoder(), ToTensor()], "label": [IntDecoder(), ToTensor(), Squeeze(1)]},
    )
    parts = [(x.clone(), y.clone()) for x, y in loader]
    images, labels = read_beton(betons["val_64"])
    assert np.array_equal(torch.cat([p[0] for p in parts]).numpy(), images)
    assert np.array_equal(torch.cat([p[1] for p in parts]).numpy(), labels)


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
    with pytest.raises(BadImagesError) as error:
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


def test_unfinished_and_truncated_files_are_refused(betons: dict[str, Path], tmp_path: Path) -> None:
    data = betons["val_32"].read_bytes()
    cases = {
        "unfinished": data[:16] + bytes(8) + data[24:],
        "truncated": data[: len(data) // 2],
        "short": data[:100],
        "other": b"x" * len(data),
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.beton"
        path.write_bytes(content)
        with pytest.raises(BetonError, match=name):
            check_beton(path)
    with pytest.raises(BetonError, match="no such file"):
        check_beton(tmp_path / "none.beton")
    with pytest.raises(IndexError):
        read_beton(betons["val_32"], [99])


def test_embedded_images_are_deterministic_varied_and_classed(tmp_path: Path) -> None:
    a = generate(tmp_path / "a", 2, 1, 64, 90, seed=3)
    b = generate(tmp_path / "b", 2, 1, 64, 90, seed=3)
    files = sorted(p.relative_to(a) for p in a.rglob("*.jpg"))
    assert len(files) == len(CLASSES) * 3 >= 30
    assert all((a / f).read_bytes() == (b / f).read_bytes() for f in files)
    assert len({(a / f).read_bytes() for f in files}) == len(files)
    other = render("fish", "train", 0, 64, seed=4)
    assert not np.array_equal(other, render("fish", "train", 0, 64, seed=3))


def test_variety_changes_view_and_light_and_nothing_without_it() -> None:
    assert np.array_equal(render("fish", "train", 0, 64, 0, variety=0.0), render("fish", "train", 0, 64, 0))

    def seen(variety: float) -> tuple[set[int], float]:
        images = np.stack([render("fish", "train", i, 64, 0, variety) for i in range(40)]).astype(float)
        water = images[:, :3].mean((1, 2)).argmax(1)
        return set(water.tolist()), float(images.std(0).mean())

    (composed, spread), (varied, wide) = seen(0.0), seen(1.0)
    assert 0 not in composed  # water is blue or green ...
    assert varied == {0, 1, 2} and wide > 1.3 * spread  # ... and now of any colour


def test_embedded_images_have_detail_at_every_scale() -> None:
    """A 256-pixel model has something to add: each octave above 32 pixels holds energy."""
    for name in CLASSES:
        image = torch.from_numpy(render(name, "train", 0, 256, 0).astype(np.float32)).permute(2, 0, 1)[None]
        levels = [image] + [torch.nn.functional.avg_pool2d(image, k) for k in (2, 4, 8)]
        for fine, coarse in itertools.pairwise(levels):
            lost = fine - torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
            assert lost.std() > 2.0, name
