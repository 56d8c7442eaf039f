from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.sampling.grids import draw_grid


def test_grid_has_one_row_a_class(tmp_path: Path) -> None:
    from PIL import Image

    images = np.zeros((6, 32, 32, 3), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    for i in range(6):
        images[i] = 40 * (labels[i] + 1)
    with pytest.raises(ValueError, match="class 2, but there are 2 class names"):
        draw_grid(images, labels, ["a", "bb"], 2, tmp_path / "g.png")
    draw_grid(images, labels, ["a", "bb", "ccc"], 2, tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] == 3 * 67
    for row in range(3):
        assert (pixels[row * 67 + 32, -130:-70] == 40 * (row + 1)).any() and (
            pixels[row * 67 + 10, -60] == 40 * (row + 1)
        ).all()
