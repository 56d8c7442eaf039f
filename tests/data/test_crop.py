"""Every odd kind of file has a defined result."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from cdm_kedro.data.crop import BadImage, Decoded, crops, decode
from cdm_kedro.data.resample import downsample_numpy


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3)).astype(np.uint8), (5, 5), 2)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_plain_jpeg_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(photo()), quality=90)
    got = decode(path, True)
    with Image.open(path) as image:
        assert np.array_equal(got.pixels, np.asarray(image.convert("RGB"))) and got.notes == []


def test_greyscale(tmp_path: Path) -> None:
    grey = Image.fromarray(photo()).convert("L")
    got = decode(save(tmp_path / "a.png", grey), True)
    assert got.notes == ["greyscale"] and np.array_equal(got.pixels, np.repeat(np.asarray(grey)[..., None], 3, 2))
    jpeg = decode(save(tmp_path / "a.jpg", grey), True)
    assert jpeg.notes == ["greyscale"] and jpeg.pixels.shape == (40, 60, 3)


def test_sixteen_bit_greyscale_keeps_its_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 60).astype(np.uint16)[None].repeat(40, 0)
    got = decode(save(tmp_path / "a.png", Image.fromarray(ramp)), True)
    assert got.notes == ["greyscale"]
    np.testing.assert_allclose(got.pixels[0, :, 0], ramp[0] / 257, atol=0.51)


def test_cmyk(tmp_path: Path) -> None:
    cmyk = Image.fromarray(photo()).convert("CMYK")
    path = save(tmp_path / "a.jpg", cmyk, quality=95)
    got = decode(path, True)
    with Image.open(path) as image:
        assert got.notes == ["cmyk"] and np.array_equal(got.pixels, np.asarray(image.convert("RGB")))


def test_palette_and_alpha_over_white(tmp_path: Path) -> None:
    palette = Image.fromarray(photo()).convert("P")
    got = decode(save(tmp_path / "p.png", palette), True)
    assert got.notes == ["palette"] and np.array_equal(got.pixels, np.asarray(palette.convert("RGB")))
    rgba = np.dstack((np.full((8, 8, 3), 100, np.uint8), np.full((8, 8), 51, np.uint8)))
    got = decode(save(tmp_path / "a.png", Image.fromarray(rgba)), True)
    assert got.notes == ["alpha"] and (np.abs(got.pixels.astype(int) - (0.2 * 100 + 0.8 * 255)) <= 1).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", Image.fromarray(photo()), quality=95, exif=exif)
    upright, raw = decode(path, True), decode(path, False)
    assert raw.pixels.shape == (40, 60, 3) and raw.notes == []
    assert upright.pixels.shape == ((60, 40, 3) if orientation >= 5 else (40, 60, 3))
    assert upright.notes == (["exif_rotated"] if orientation > 1 else [])
    if orientation == 3:
        assert np.array_equal(upright.pixels, raw.pixels[::-1, ::-1])


def test_wrong_extension_is_read_by_content(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "PNG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert np.array_equal(decode(tmp_path / "a.jpg", True).pixels, photo())


@pytest.mark.parametrize("kind", ["empty", "text", "truncated.jpg", "truncated.png", "truncated_with_end.jpg"])
def test_broken_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    buffer = io.BytesIO()
    Image.fromarray(photo(200, 300)).save(buffer, "PNG" if kind.endswith("png") else "JPEG")
    data = buffer.getvalue()
    content = {"empty": b"", "text": b"hello " * 50}.get(kind, data[: len(data) // 2])
    if "with_end" in kind:
        content = data[: len(data) // 2] + b"\xff\xd9"
    path.write_bytes(content)
    if "with_end" in kind:
        # Both decoders fill the rest; what matters is that it never passes as a different size or hangs.
        with contextlib.suppress(BadImage):
            assert decode(path, True).pixels.shape == (200, 300, 3)
        return
    with pytest.raises(BadImage):
        decode(path, True)


def test_centre_crop_is_the_area_mean_of_the_centre_square() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (512, 700, 3)).astype(np.uint8)
    got = crops(Decoded(pixels), "area", [256])[256]
    square = pixels[:, 94:606].astype(np.float64)
    mean = square.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert got.shape == (256, 256, 3) and np.abs(got - mean).max() <= 0.51


@pytest.mark.parametrize("short", [257, 300, 375, 500, 511, 1023])
def test_the_area_mean_has_opencvs_bytes(short: int) -> None:
    pixels = np.random.default_rng(short).integers(0, 256, (short, short + 31, 3)).astype(np.uint8)
    square = np.ascontiguousarray(pixels[:, 16 : 16 + short])  # round(15.5) is 16
    assert np.array_equal(
        crops(Decoded(pixels), "area", [256])[256], cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA)
    )


def area_means(square: np.ndarray, side: int) -> np.ndarray:
    """Mean over the area of each pixel of the result, in float64: the integral of the image, differenced."""
    for axis in (0, 1):
        edges = np.linspace(0, square.shape[axis], side + 1)
        integral = np.concatenate((np.zeros_like(square.take([0], axis), np.float64), square.cumsum(axis)), axis)
        at = np.floor(edges).astype(int)
        share = (edges - at).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        upper = integral.take(np.minimum(at + 1, square.shape[axis]), axis)
        square = np.diff(integral.take(at, axis) * (1 - share) + upper * share, axis=axis) * side / square.shape[axis]
    return square


@pytest.mark.parametrize("short", [200, 100, 256, 300])
def test_every_size_is_the_area_mean_of_the_square_and_small_images_are_reduced_directly(short: int) -> None:
    image = Decoded(photo(short, short + 20))
    got = crops(image, "area", [256, 128, 64, 32])
    assert image.notes == (["upsampled"] if short < 256 else [])
    square = image.pixels[:, 10 : 10 + short].astype(np.float64)
    for side, found in got.items():
        assert found.shape == (side, side, 3) and found.dtype == np.uint8
        if side <= short:
            # The lower sizes of larger images are means of the rounded 256 pixels; else there is one rounding.
            assert np.abs(found - area_means(square, side)).max() <= (0.51 if short <= 256 else 1.0)
        else:
            assert np.array_equal(
                found, cv2.resize(square.astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
            )
    exact = Decoded(photo(256, 256))
    assert np.array_equal(crops(exact, "area", [256])[256], exact.pixels) and exact.notes == []


def test_large_images_are_reduced_to_lower_sizes_in_blocks_of_the_256_crop() -> None:
    """So that a super-resolution model's input, averaged from its own size, is the image of the size below."""
    got = crops(Decoded(photo(375, 500)), "area", [256, 64, 32])
    for side in (64, 32):
        assert np.array_equal(got[side], downsample_numpy(got[256][None], side)[0])


def triangle(square: np.ndarray, side: int) -> np.ndarray:
    """A triangle filter as wide as two pixels of the larger grid, columns first, each pass rounded to 8 bits."""
    for axis in (1, 0):
        scale = square.shape[axis] / side
        width = max(scale, 1.0)
        centres, taps = (np.arange(side) + 0.5) * scale, np.arange(square.shape[axis]) + 0.5
        weights = np.clip(1 - np.abs(taps[None] - centres[:, None]) / width, 0, None)
        weights /= weights.sum(1, keepdims=True)
        square = np.rint(np.moveaxis(np.tensordot(weights, square, (1, axis)), 0, axis))
    return square


@pytest.mark.parametrize(("height", "width"), [(375, 500), (501, 334), (200, 260), (1100, 1300)])
def test_bilinear_option_is_biggan_pytorchs_at_every_size(height: int, width: int) -> None:
    """CenterCropLongEdge, then torchvision's Resize of a PIL image: a triangle filter from the square to each size."""
    pixels = photo(height, width)
    short = min(height, width)
    top, left = round((height - short) / 2), round((width - short) / 2)
    square = pixels[top : top + short, left : left + short].astype(np.float64)
    for side, found in crops(Decoded(pixels), "bilinear", [256, 128, 64, 32]).items():
        off = np.abs(found - triangle(square, side))
        assert off.max() <= 1 and (off > 0).mean() < 0.01  # Pillow's weights have 22 bits


@pytest.mark.parametrize(
    ("side", "steps", "left"),
    [
        (256, [((650, 550), "BOX"), ((325, 275), "BOX"), ((303, 256), "BICUBIC")], 23),
        (
            64,
            [((650, 550), "BOX"), ((325, 275), "BOX"), ((162, 137), "BOX"), ((81, 68), "BOX"), ((76, 64), "BICUBIC")],
            6,
        ),
        (
            32,
            [
                *(((650, 550), "BOX"), ((325, 275), "BOX"), ((162, 137), "BOX"), ((81, 68), "BOX"), ((40, 34), "BOX")),
                ((38, 32), "BICUBIC"),
            ],
            3,
        ),
    ],
)
def test_guided_diffusion_option_takes_adms_steps_at_every_size(
    side: int, steps: list[tuple[tuple[int, int], str]], left: int
) -> None:
    pixels = photo(1100, 1300)
    image = Image.fromarray(pixels)
    for size, filter_ in steps:
        image = image.resize(size, Image.Resampling[filter_])
    got = crops(Decoded(pixels), "guided_diffusion", [256, side])
    assert np.array_equal(got[side], np.asarray(image)[:, left : left + side])
