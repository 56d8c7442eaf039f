"""Pictures of single images as PNG. A picture's caption lies in the file itself, as its ``Description``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdm_kedro.evaluation.sources import Images, Source

if TYPE_CHECKING:
    from PIL import Image

_INK, _PAPER = (40, 40, 40), (255, 255, 255)
_GAP = 3
_COLUMNS = 4


def save_png(picture: Image.Image, path: Path, caption: str) -> None:
    """Write a picture with its caption, whole or not at all."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_itxt("Description", caption)
    part = path.with_name(path.name + ".part")
    picture.save(part, format="PNG", pnginfo=info)
    part.replace(path)


def read_caption(path: Path) -> str:
    """The caption that :func:`save_png`, or matplotlib with ``metadata={"Description": ...}``, wrote; else ""."""
    from PIL import Image

    with Image.open(path) as picture:
        return str(picture.info.get("Description", ""))


def tile_rows(rows: Sequence[tuple[str, Images, Sequence[str]]], side: int = 112) -> Image.Image:
    """Rows of images of one size with a name on the left and a short text under each.

    Args:
        rows: name, (B, H, W, 3) images, B texts; rows may differ in length.
        side: of a tile; small images are enlarged by pixel repetition, large ones reduced.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, line = ImageFont.load_default(13), 18
    margin = int(max(font.getlength(name) for name, _, _ in rows)) + 14
    columns = max(len(images) for _, images, _ in rows)
    canvas = Image.new("RGB", (margin + columns * (side + _GAP), len(rows) * (side + line + _GAP)), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for row, (name, images, texts) in enumerate(rows):
        top = row * (side + line + _GAP)
        pen.text((6, top + side // 2), name, fill=_INK, font=font, anchor="lm")
        for column, (image, text) in enumerate(zip(images, texts, strict=True)):
            how = Image.Resampling.NEAREST if len(image) <= side else Image.Resampling.BOX
            left = margin + column * (side + _GAP)
            canvas.paste(Image.fromarray(image).resize((side, side), how), (left, top))
            pen.text((left + side // 2, top + side + line // 2), text, fill=_INK, font=font, anchor="mm")
    return canvas


def draw_neighbours(
    chosen: Mapping[str, Any], samples: Source, train: Source, numbers: Mapping[str, Any], extractor: str, path: Path
) -> None:
    """Samples, each followed by its nearest training images and their distances.

    Args:
        chosen: arrays of :func:`~cdm_kedro.evaluation.memorization.judge_single_images`.
        samples: where the samples lie.
        train: where the training images lie.
        numbers: of the same function.
        extractor: its name, for the caption.
        path: PNG to write.
    """
    rows = []
    for index, neighbours, distances in zip(chosen["shown"], chosen["neighbours"], chosen["distances"], strict=True):
        images = np.concatenate((samples.read([int(index)]), train.read([int(i) for i in neighbours])))
        rows.append(("", images, ["sample", *(f"{d:.1f}" for d in distances)]))
    caption = (
        f"Samples (left) and their nearest among {numbers['train_images']} training images by distance of {extractor} "
        f"features; the upper half are the nearest of {numbers['samples']} samples. Median distance "
        f"{numbers['median_distance_samples_to_train']:.1f}; of validation images "
        f"{numbers['median_distance_val_to_train']:.1f}. A model that copies training images would come much nearer "
        "than validation images do."
    )
    save_png(tile_rows(rows), path, caption)


def draw_realism(chosen: Mapping[str, Any], samples: Source, extractor: str, path: Path) -> None:
    """Random samples, and the most and the least realistic ones.

    Args:
        chosen: arrays of :func:`~cdm_kedro.evaluation.memorization.judge_single_images`.
        samples: where the samples lie.
        extractor: its name, for the caption.
        path: PNG to write.
    """
    rows = []
    for name in ("random", "best", "worst"):
        images = samples.read([int(i) for i in chosen[name]])
        texts = [f"{r:.2f}" for r in chosen[f"{name}_realism"]]
        for start in range(0, len(images), _COLUMNS):  # short rows can be read on a phone
            part = slice(start, start + _COLUMNS)
            rows.append(("" if start else name, images[part], texts[part]))
    caption = (
        "Samples at random, and those with the highest and the lowest realism (Kynkäänniemi et al. 2019): how deep "
        f"they lie in the manifold of training images in {extractor} features; 1 is its edge."
    )
    save_png(tile_rows(rows), path, caption)
