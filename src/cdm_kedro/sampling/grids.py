"""A grid of samples with a row for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.files.atomic import written_whole
from cdm_kedro.sampling.tiles import tile_rows

_MAX_CLASSES, _MIN_SIDE = 20, 64  # rows; pixels of the smallest picture


def draw_grid(
    images: NDArray[np.uint8], labels: NDArray[np.int64], classes: list[str], columns: int, path: Path
) -> None:
    """Write one PNG with a row of images, (N, H, W, 3) uint8, for each class and the class name beside it.

    Of more than 20 classes evenly spaced ones are shown. Images smaller than 64 pixels are enlarged by a whole factor.
    Raises ValueError if a sample's class has no name.
    """
    present = np.unique(labels)
    if present[-1] >= len(classes):
        raise ValueError(
            f"samples are of class {present[-1]}, but there are {len(classes)} class names; the images must have the "
            "classes that the models know, in the same order"
        )
    if len(present) > _MAX_CLASSES:
        present = present[np.linspace(0, len(present) - 1, _MAX_CLASSES).round().astype(int)]
    rows = [(classes[label], images[np.flatnonzero(labels == label)[:columns]], ()) for label in present.tolist()]
    side = images.shape[1] * max(1, -(-_MIN_SIDE // images.shape[1]))
    with written_whole(path) as part:
        tile_rows(rows, side).save(part, format="PNG")
