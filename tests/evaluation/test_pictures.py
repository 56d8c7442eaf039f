"""Pictures of single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cdm_kedro.evaluation.pictures import draw_single_images, read_caption
from cdm_kedro.evaluation.sources import NpzSource

NAME = "efficientnet_lite0"
MEMORIZATION = {
    "samples": 8,
    "train_images": 70,
    "median_distance_samples_to_train": 3.0,
    "median_distance_val_to_train": 4.0,
}


def test_pictures_of_single_images_carry_their_captions(tmp_path: Path) -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(64, 1).repeat(64, 2).repeat(3, 3) * 40
    np.savez(tmp_path / "a.npz", images)
    source = NpzSource(tmp_path / "a.npz")
    chosen = {
        "shown": np.array([2]),
        "neighbours": np.array([[5, 1]]),
        "distances": np.array([[1.0, 2.5]]),
        "random": np.array([1, 2, 3, 4, 5]),
        "random_realism": np.ones(5),
        "best": np.array([3]),
        "worst": np.array([4]),
        "best_realism": np.array([1.25]),
        "worst_realism": np.array([0.5]),
    }
    paths = draw_single_images(chosen, source, source, MEMORIZATION, NAME, tmp_path)
    with Image.open(paths["neighbours"]) as picture:
        pixels = np.asarray(picture)
    present = [(pixels == 40 * v).all(2).sum() > 112 * 100 for v in range(6)]
    assert present == [False, True, True, False, False, True]
    assert "nearest among 70 training images" in read_caption(paths["neighbours"])
    assert NAME in read_caption(paths["realism"])
    with Image.open(paths["realism"]) as picture:
        assert picture.height == 4 * (112 + 18 + 3)  # five random ones take two rows
