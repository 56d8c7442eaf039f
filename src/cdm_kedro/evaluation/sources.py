"""Where judged images come from: npz files in the ADM evaluator's convention, and FFCV files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class SourceError(ValueError):
    """A file that does not hold judgeable images; the message names it."""


def open_npz(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Images (N, H, W, 3) uint8 and labels of an ADM-convention npz.

    Raises:
        SourceError: missing array, wrong shape, or not uint8.
    """
    with np.load(path, allow_pickle=False) as file:
        if "arr_0" not in file:
            raise SourceError(f"{path}: has no array arr_0; it holds {file.files}")
        images = file["arr_0"]
        labels = file.get("arr_1")
    if images.ndim != 4 or images.shape[3] != 3 or len(images) == 0:
        raise SourceError(f"{path}: arr_0 has shape {images.shape}; expected (N, H, W, 3) with N > 0")
    if images.dtype != np.uint8:
        finite = bool(np.isfinite(images).all()) if np.issubdtype(images.dtype, np.floating) else True
        raise SourceError(
            f"{path}: arr_0 is {images.dtype}{'' if finite else ' with NaN or infinity'}; "
            "convert it to uint8 0 .. 255 first"
        )
    return images, labels


def batches(images: NDArray[np.uint8], batch_size: int) -> Iterator[NDArray[np.uint8]]:
    """Consecutive slices."""
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size]
