"""Every kind of source reads the same pixels, and every kind of bad input is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.data.beton import read_beton
from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.sources import FolderSource, NpzSource, open_source
from cdm_kedro.files.npz import map_npz_array


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 12, 10, 3), np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_mapped_not_loaded(tmp_path: Path, images: np.ndarray, save: object) -> None:
    path = tmp_path / "a.npz"
    save(path, images, np.arange(7))  # type: ignore[operator]
    mapped = map_npz_array(path, "arr_0")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, images)
    source = pickle.loads(pickle.dumps(open_source(path)))  # as it goes to other processes
    np.testing.assert_array_equal(source.read([6, 0, 3]), images[[6, 0, 3]])
    assert source.count == 7 and source.labels.tolist() == list(range(7))


def test_our_own_samples_and_column_major_arrays_are_mapped(tmp_path: Path, images: np.ndarray) -> None:
    from cdm_kedro.files.npz import write_npz

    square = images[:, :10]
    np.savez(tmp_path / "shard.npz", **{"10": square})
    write_npz(tmp_path / "s.npz", [tmp_path / "shard.npz"], "10", 10, np.arange(7, dtype=np.int64))
    np.testing.assert_array_equal(NpzSource(tmp_path / "s.npz").read(range(7)), square)
    np.savez(tmp_path / "f.npz", np.asfortranarray(images))
    np.testing.assert_array_equal(map_npz_array(tmp_path / "f.npz", "arr_0"), images)


def test_bad_npz_files_are_named(tmp_path: Path, images: np.ndarray) -> None:
    cases = {
        "has no array arr_0; it holds": {"x": np.zeros(3)},
        r"shape \(4, 8, 8\); expected": {"arr_0": np.zeros((4, 8, 8), np.uint8)},
        r"shape \(0, 8, 8, 3\); expected": {"arr_0": np.zeros((0, 8, 8, 3), np.uint8)},
        "float64 with values from 0 to 1 and NaN": {
            "arr_0": np.array([0.0, 1.0, np.nan]).repeat(64).reshape(1, 8, 8, 3)
        },
        "float32 with values from -1 to 3; convert it to uint8": {
            "arr_0": np.linspace(-1, 3, 192, dtype=np.float32).reshape(1, 8, 8, 3)
        },
        r"arr_1 is int64 \(3,\); expected \(7,\)": {"arr_0": images, "arr_1": np.arange(3)},
        "arr_1 is float64": {"arr_0": images, "arr_1": np.zeros(7)},
    }
    path = tmp_path / "a.npz"
    for message, arrays in cases.items():
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(CdmError, match=f"a.npz: .*{message}"):
            open_source(path)
    np.savez(path, np.array([{}], dtype=object))
    with pytest.raises(CdmError, match="Python objects"):
        open_source(path)
    path.write_bytes(b"PK but not a zip")
    with pytest.raises(CdmError, match="not a readable npz file"):
        open_source(path)
    with pytest.raises(CdmError, match="no such file"):
        open_source(tmp_path / "none.npz")
    with pytest.raises(CdmError, match=r"expected an \.npz or \.beton file, or a folder"):
        open_source(tmp_path / "a.tar")


def test_folders(tmp_path: Path, images: np.ndarray, image_folder: Path, betons: dict[str, Path]) -> None:
    for i, image in enumerate(images):
        (tmp_path / str(i % 2)).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / str(i % 2) / f"{i}.png")
    source = open_source(tmp_path)
    assert isinstance(source, FolderSource)
    names = [int(p.stem) for p in source.files]
    assert sorted(names) == list(range(7)) and names[:4] != [0, 2, 4, 6]  # shuffled: a part of it is a fair sample
    np.testing.assert_array_equal(source.read(range(7)), images[names])
    assert pickle.loads(pickle.dumps(source)).files == source.files
    Image.new("RGB", (9, 9)).save(tmp_path / "odd.png")
    with pytest.raises(CdmError, match=r"give a size to crop and resize"):
        open_source(tmp_path).read(range(8))
    assert open_source(tmp_path, 32).read(range(8)).shape == (8, 32, 32, 3)
    (tmp_path / "odd.png").write_bytes(b"\x89PNG")
    with pytest.raises(CdmError, match=r"odd\.png: not an image"):
        open_source(tmp_path).read(range(8))
    (tmp_path / "empty").mkdir()
    for path, size, message in (
        (tmp_path / "empty", None, "holds no images"),
        (tmp_path, 48, "48 does not divide 256"),
        (betons["val_32"], 32, "a size is for folders"),
    ):
        with pytest.raises(CdmError, match=message):
            open_source(path, size)
    # A folder at a size holds what preprocessing stores at that size.
    folder, beton = open_source(image_folder / "val", 64), open_source(betons["val_64"])
    assert folder.count == beton.count == 6
    key = lambda x: sorted(image.tobytes() for image in x)  # noqa: E731
    assert key(folder.read(range(6))) == key(beton.read(range(6)))
    np.testing.assert_array_equal(beton.labels, read_beton(betons["val_64"])[1])
