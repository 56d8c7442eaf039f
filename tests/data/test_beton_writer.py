from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.data.beton import read_beton
from cdm_kedro.data.beton_writer import keep_images, new_beton, write_at, write_beton
from cdm_kedro.errors import CdmError

FFCV = """
import sys
import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.writer import DatasetWriter

arrays = np.load(sys.argv[1])
source = [(image, int(label)) for image, label in zip(arrays["images"], arrays["labels"])]
fields = {"image": RGBImageField(write_mode="raw"), "label": IntField()}
DatasetWriter(sys.argv[2], fields, num_workers=1).from_indexed_dataset(source, chunksize=64)
"""


def images(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), rng.integers(0, 1000, count)


@pytest.mark.parametrize(("side", "count"), [(256, 1), (256, 42), (256, 43), (64, 700), (8, 3)])
def test_bytes_are_those_of_ffcvs_writer(side: int, count: int, tmp_path: Path) -> None:
    """Less than a page, exactly one, and more."""
    pixels, labels = images(count, side)
    write_beton(tmp_path / "ours.beton", labels, pixels.shape[1], pixels)
    np.savez(tmp_path / "images.npz", images=pixels, labels=labels)
    # A process of its own: FFCV's writer forks.
    subprocess.run([sys.executable, "-c", FFCV, tmp_path / "images.npz", tmp_path / "theirs.beton"], check=True)
    assert (tmp_path / "ours.beton").read_bytes() == (tmp_path / "theirs.beton").read_bytes()


def test_images_may_come_in_any_order(tmp_path: Path) -> None:
    pixels, labels = images(50, 256)
    write_beton(tmp_path / "one.beton", labels, pixels.shape[1], pixels)
    with new_beton(tmp_path / "two.beton", labels, 256) as (part, layout), part.open("r+b") as file:
        for i in np.random.default_rng(0).permutation(50).tolist():
            write_at(file, pixels[i], layout.pointer(i))
    assert (tmp_path / "one.beton").read_bytes() == (tmp_path / "two.beton").read_bytes()


def test_keeping_some_images_equals_writing_only_them(tmp_path: Path) -> None:
    pixels, labels = images(50, 256)
    kept = np.array([0, 3, 4, 41, 42, 49])
    write_beton(tmp_path / "all.beton", labels, pixels.shape[1], pixels)
    write_beton(tmp_path / "some.beton", labels[kept], 256, pixels[kept])
    keep_images(tmp_path / "all.beton", kept)
    assert (tmp_path / "all.beton").read_bytes() == (tmp_path / "some.beton").read_bytes()


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    pixels, labels = images(3, 16)
    path = tmp_path / "x.beton"
    write_beton(path, labels, pixels.shape[1], pixels)
    with pytest.raises(RuntimeError), new_beton(path, labels[:1], 16):
        raise RuntimeError
    assert np.array_equal(read_beton(path)[0], pixels) and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said(small_disk: Path) -> None:
    pixels, labels = images(100, 256)
    with pytest.raises(CdmError, match=r"no space left on its file system \(0\.0336 GB are needed and"):
        write_beton(small_disk / "x.beton", labels, pixels.shape[1], pixels)
    assert list(small_disk.iterdir()) == []
