"""FFCV files of raw square images with integer labels: their layout, checking them and reading them.

The layout is that of FFCV's format version 2, as its ``DatasetWriter`` with one worker writes it: a header, one
description a field, a table of samples, pages of pixels, and a table of the places given out. Knowing it saves the 4 s
that importing ffcv takes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.errors import CdmError

_HEADER_FIELDS = ["version", "num_fields", "page_size", "num_samples", "alloc_table_ptr"]
HEADER = np.dtype({"names": _HEADER_FIELDS, "formats": ["<u2", "<u2", "<u4", "<u8", "<u8"]})
FIELD = np.dtype([("type_id", "<u1"), ("name", "S16"), ("arguments", "V1024")])
_IMAGE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
SAMPLE = np.dtype([("image", _IMAGE), ("label", "<i8")], align=True)
PLACE = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
VERSION, RAW = 2, 1
PAGE = 4 << 21  # bytes of a page: FFCV's default; an image lies within one page
TABLE = HEADER.itemsize + 2 * FIELD.itemsize  # where the table of samples begins


class BetonInfo(NamedTuple):
    """What a file holds."""

    num_samples: int
    resolution: int


def _read_table(path: Path) -> tuple[BetonInfo, NDArray[Any]]:
    """Check a file and return its table of samples."""
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise CdmError(f"{path}: no such file; run the preprocess stage")
    if size < TABLE:
        raise CdmError(f"{path}: {size} bytes are too few for an FFCV file; delete it and run preprocess again")
    header = np.fromfile(path, HEADER, count=1)[0]
    if header["version"] != VERSION or header["num_fields"] != 2:
        raise CdmError(f"{path}: not an FFCV file of image and label")
    if header["alloc_table_ptr"] == 0 or header["alloc_table_ptr"] > size:
        raise CdmError(f"{path}: unfinished or truncated FFCV file; delete it and run preprocess again")
    samples = np.fromfile(path, SAMPLE, count=int(header["num_samples"]), offset=TABLE)
    if len(samples) != header["num_samples"] or len(samples) == 0:
        raise CdmError(f"{path}: holds {len(samples)} samples, its header says {header['num_samples']}")
    images = samples["image"]
    side = int(images["width"][0])
    if (images["mode"] != RAW).any() or (images["width"] != side).any() or (images["height"] != side).any():
        raise CdmError(f"{path}: images are not all raw and {side} pixels square")
    if int(images["data_ptr"].max()) + side * side * 3 > size:
        raise CdmError(f"{path}: truncated; delete it and run preprocess again")
    return BetonInfo(len(samples), side), samples


def check_beton(path: Path) -> BetonInfo:
    """Read the header and the table of samples, not the pixels.

    Raises CdmError: missing, unfinished, truncated, empty, or not raw square images of one size.
    """
    return _read_table(path)[0]


def read_labels(path: Path) -> NDArray[np.int64]:
    """(N,) int64 labels."""
    return _read_table(path)[1]["label"].copy()


def read_beton(path: Path, indices: Sequence[int] | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the images of these numbers, or all of them, into memory.

    Returns (N, H, W, 3) uint8 and (N,) int64 labels. Raises CdmError if the file is not sound. Raises IndexError if
    an index is out of range.
    """
    (count, side), samples = _read_table(path)
    wanted = np.arange(count) if indices is None else np.asarray(indices, dtype=np.int64)
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= count):
        raise IndexError(f"{path}: indices must lie in 0 .. {count - 1}")
    data = np.memmap(path, np.uint8, mode="r")
    images = np.empty((len(wanted), side, side, 3), np.uint8)
    for image, pointer in zip(images, samples["image"]["data_ptr"][wanted].tolist(), strict=True):
        image[:] = data[pointer : pointer + image.size].reshape(image.shape)
    return images, samples["label"][wanted].astype(np.int64)
