from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.files.npz import write_arrays, write_npz
from cdm_kedro.params.sampling import GridsParams
from cdm_kedro.pipelines.grids import draw_grids
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


def test_a_grid_reads_its_own_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 000 images of 256 pixels are 10 GB; here 4000 of 64."""
    monkeypatch.setattr("cdm_kedro.tracking.scratch.scratch_dir", lambda stage: tmp_path)
    block = np.zeros((500, 64, 64, 3), np.uint8)
    write_arrays(tmp_path / "shard.npz", {"base": block})
    samples = tmp_path / "samples_64.npz"
    write_npz(samples, [tmp_path / "shard.npz"] * 8, "base", 64, np.arange(4000) % 2)
    assert samples.stat().st_size > 48e6
    tracemalloc.start()
    (grid,) = draw_grids(["a", "b"], GridsParams(columns=4), samples_64=samples).values()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grid.stat().st_size > 0 and peak < 5e6
