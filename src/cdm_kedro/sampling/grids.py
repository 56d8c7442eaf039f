"""Rows of pictures beside their names; a grid of samples with a row for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.files.atomic import written_whole

_INK, _PAPER = (40, 40, 40), (255, 255, 255)
_GAP = 3


def tile_rows(rows: Sequence[tuple[str, Any, Sequence[str]]], side: int = 112) -> Any:
    """Rows of images: a name on the left, B images (H, W, 3) uint8, and B short texts under them or none.

    ``side`` is that of a tile in pixels; small images are enlarged by pixel repetition, large ones reduced.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, line = ImageFont.load_default(max(13, min(20, side // 6))), 18 if any(texts for _, _, texts in rows) else 0
    margin = int(max(font.getlength(name) for name, _, _ in rows)) + 14
    columns = max(len(images) for _, images, _ in rows)
    canvas = Image.new("RGB", (margin + columns * (side + _GAP), len(rows) * (side + line + _GAP)), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for row, (name, images, texts) in enumerate(rows):
        top = row * (side + line + _GAP)
        pen.text((6, top + side // 2), name, fill=_INK, font=font, anchor="lm")
        for column, image in enumerate(images):
            how = Image.Resampling.NEAREST if len(image) <= side else Image.Resampling.BOX
            canvas.paste(Image.fromarray(image).resize((side, side), how), (margin + column * (side + _GAP), top))
        for column, text in enumerate(texts):
            place = margin + column * (side + _GAP) + side // 2, top + side + line // 2
            pen.text(place, text, fill=_INK, font=ImageFont.load_default(13), anchor="mm")
    return canvas


def draw_grid(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: list[str],
    columns: int,
    path: Path,
    max_classes: int = 20,
    min_side: int = 64,
) -> None:
    """Write one PNG with a row of images, (N, H, W, 3) uint8, for each class and the class name beside it.

    Of more than ``max_classes`` evenly spaced ones are shown. Images smaller than ``min_side`` pixels are enlarged by a
    whole factor. Raises ValueError if a sample's class has no name.
    """
    present = np.unique(labels)
    if present[-1] >= len(classes):
        raise ValueError(
            f"samples are of class {present[-1]}, but there are {len(classes)} class names; the images must have the "
            "classes that the models know, in the same order"
        )
    if len(present) > max_classes:
        present = present[np.linspace(0, len(present) - 1, max_classes).round().astype(int)]
    rows = [(classes[label], images[np.flatnonzero(labels == label)[:columns]], ()) for label in present.tolist()]
    side = images.shape[1] * max(1, -(-min_side // images.shape[1]))
    with written_whole(path) as part:
        tile_rows(rows, side).save(part, format="PNG")
