"""Pictures as others show them: rows beside their names, and the text of a PNG file."""

import base64
import io
from collections.abc import Sequence
from typing import Any

_INK, _PAPER, _GAP = (40, 40, 40), (255, 255, 255), 3


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


def png_text(image: Any) -> str:
    """The base64 text of a PNG file of a (3, H, W) uint8 tensor."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
