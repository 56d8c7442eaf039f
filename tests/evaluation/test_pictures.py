"""Pictures of single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cdm_kedro.evaluation.pictures import draw_side_by_side, draw_single_images, read_caption
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


def test_ours_stand_above_others_of_the_same_class(tmp_path: Path) -> None:
    images = np.stack([np.full((64, 64, 3), 11 * (i + 1), np.uint8) for i in range(4)])
    np.savez(tmp_path / "ours.npz", images, np.array([0, 1, 0, 1]))
    for name, grey in (("tench", 150), ("goldfish", 200)):
        (tmp_path / "theirs" / name).mkdir(parents=True)
        Image.new("RGB", (300, 280), (grey,) * 3).save(tmp_path / "theirs" / name / "x.png")
    classes = {"goldfish": 1, "tench": 0}
    draw_side_by_side(tmp_path / "ours.npz", classes, {"VQ-VAE-2": tmp_path / "theirs"}, 2, tmp_path / "out.png")
    pixels = np.asarray(Image.open(tmp_path / "out.png"))
    counts = {grey: (pixels == grey).all(2).sum(1) for grey in (11, 22, 33, 44, 150, 200)}
    top = {grey: int(np.argmax(rows >= 112)) for grey, rows in counts.items()}  # letters have greys too
    assert top[22] == top[44] < top[200] < top[11] == top[33] < top[150]
