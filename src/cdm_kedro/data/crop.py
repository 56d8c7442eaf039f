"""From an image file to its centre square at every size (BigGAN's crop, paper section 4)."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.data.resample import pyramid
from cdm_kedro.errors import CdmError
from cdm_kedro.params.data import CROP_SIDE

_KINDS = {"1": "greyscale", "L": "greyscale", "CMYK": "cmyk", "P": "palette"}


class BadImage(CdmError):
    """A file that cannot be read as an image; the message is the reason, without the path."""


@dataclass
class Decoded:
    """An RGB image and what was done to make it one."""

    pixels: NDArray[np.uint8]
    notes: list[str] = field(default_factory=list)


def decode(path: Path, apply_exif_rotation: bool) -> Decoded:
    """Read any supported file as 8-bit RGB.

    Greyscale is repeated over the channels, CMYK and palettes are converted, alpha is laid over white, and the EXIF
    orientation is applied if asked; ``notes`` names each conversion. Raises BadImage: empty, truncated or not an image.
    """
    data = path.read_bytes()
    if not data:
        raise BadImage("the file is empty")
    if data[:2] == b"\xff\xd8" and b"Exif\x00" not in data[:4096] and data[-2:] == b"\xff\xd9":
        import simplejpeg

        try:
            _, _, colorspace, _ = simplejpeg.decode_jpeg_header(data)
            if colorspace == "YCbCr":  # bit-identical to Pillow and faster; everything rarer goes the careful way
                return Decoded(simplejpeg.decode_jpeg(data, colorspace="RGB"))
        except ValueError:
            pass
    from PIL import Image, ImageOps, UnidentifiedImageError

    notes: list[str] = []
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            oriented: Any = image
            if image.getexif().get(0x0112, 1) != 1 and apply_exif_rotation:
                oriented = ImageOps.exif_transpose(image)
                notes.append("exif_rotated")
            return Decoded(_to_rgb(oriented, notes), notes)
    except UnidentifiedImageError:
        raise BadImage("not an image that Pillow can identify") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImage(f"cannot be decoded: {error}") from None


def _to_rgb(image: Any, notes: list[str]) -> NDArray[np.uint8]:
    from PIL import Image

    mode = image.mode
    wide = mode in ("I", "F") or mode.startswith("I;16")
    if wide or mode in _KINDS:
        notes.append("greyscale" if wide else _KINDS[mode])
    if wide:
        values = np.asarray(image.convert("F"))
        values = values / 257 if values.max(initial=0) > 255 else values
        return np.repeat(values.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        notes.append("alpha")
        over = image.convert("RGBA")
        base = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(base, over).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def crops(image: Decoded, resize: str, sides: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Centre square of the short side, resampled to several sizes.

    An image with a short side below 256 gains the note "upsampled". Returns each size to (side, side, 3) uint8.
    ``image``: to crop. ``resize``: "area" is the exact area mean, at sizes below 256 the rounded mean over blocks of
    the 256-pixel square; images below 256 pixels are reduced to lower sizes directly, and enlarged by bicubic
    interpolation. "bilinear" is Pillow's filter from the square to each size, as in BigGAN-PyTorch. "guided_diffusion"
    is ADM's way to each size: halvings, bicubic, then the crop. ``sides``: 256 divided by powers of two.
    """
    height, width = image.pixels.shape[:2]
    short = min(height, width)
    if short < CROP_SIDE:
        image.notes.append("upsampled")
    if resize == "guided_diffusion":
        return {side: _guided_diffusion(image.pixels, side) for side in sides}
    top, left = round((height - short) / 2), round((width - short) / 2)
    square = image.pixels[top : top + short, left : left + short]
    if resize == "bilinear":
        from PIL import Image

        whole, how = Image.fromarray(square), Image.Resampling.BILINEAR
        return {side: np.asarray(whole.resize((side, side), how)) for side in sides}
    import cv2

    if short < CROP_SIDE:
        filters = {side: cv2.INTER_AREA if side < short else cv2.INTER_CUBIC for side in sides}
        return {side: cv2.resize(square, (side, side), interpolation=own) for side, own in filters.items()}
    return pyramid(cv2.resize(square, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA), sides)


def _guided_diffusion(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(pixels)
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    array = np.asarray(image)
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    return np.ascontiguousarray(array[top : top + side, left : left + side])
