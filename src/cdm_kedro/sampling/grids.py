"""Grids of samples as PNG, with a row for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.files.atomic import written_whole

_FOREGROUND, _BACKGROUND = (40, 40, 40), (255, 255, 255)
_GAP = 2


def draw_grid(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: list[str],
    columns: int,
    path: Path,
    max_classes: int = 20,
    min_side: int = 64,
) -> None:
    """Write one PNG with a row of samples for each class and the class name beside it.

    Raises ValueError if a sample's class has no name.

    Args:
        images: (N, H, W, 3) uint8.
        labels: (N,) class indices.
        columns: number of images in a row; a class with fewer samples leaves the rest empty.
        max_classes: most rows; of more classes evenly spaced ones are shown.
        min_side: least side of a tile in pixels; smaller images are enlarged by a whole factor, so that pixels stay
            square.
    """
    from PIL import Image, ImageDraw, ImageFont

    side = images.shape[1]
    factor = max(1, -(-min_side // side))
    cell = side * factor
    present = np.unique(labels)
    if present[-1] >= len(classes):
        raise ValueError(
            f"samples are of class {present[-1]}, but there are {len(classes)} class names; the images must have the "
            "classes that the models know, in the same order"
        )
    if len(present) > max_classes:
        present = present[np.linspace(0, len(present) - 1, max_classes).round().astype(int)]
    size = max(12, min(20, cell // 5))
    font = ImageFont.load_default(size)
    margin = int(max(font.getlength(classes[int(c)]) for c in present)) + 12
    canvas = Image.new("RGB", (margin + columns * (cell + _GAP), len(present) * (cell + _GAP)), _BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for row, label in enumerate(present):
        top = row * (cell + _GAP)
        pen.text((6, top + cell // 2), classes[int(label)], fill=_FOREGROUND, font=font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(labels == label)[:columns]):
            tile = Image.fromarray(images[index])
            if factor > 1:
                tile = tile.resize((cell, cell), Image.Resampling.NEAREST)
            canvas.paste(tile, (margin + column * (cell + _GAP), top))
    with written_whole(path) as part:
        canvas.save(part, format="PNG")
