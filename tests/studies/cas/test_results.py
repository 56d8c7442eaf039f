"""The table and the pictures of the classification accuracy score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cdm_kedro.evaluation.pictures import read_caption
from cdm_kedro.studies.cas.results import cas_table, class_accuracies, draw_classes, draw_comparison


def test_table_comparison_and_class_grids(tmp_path: Path) -> None:
    base = {"resolution": 256, "network": "ResNet-50", "train_images": 9, "validation_images": 12, "top5": 100.0}
    real = base | {"top1": 75.0, "per_class": {"images": [4, 4, 4, 0], "top1": [4, 3, 2, 0], "top5": [4, 4, 4, 0]}}
    fake = base | {"top1": 50.0, "per_class": {"images": [4, 4, 4, 0], "top1": [1, 2, 3, 0], "top5": [4, 4, 4, 0]}}
    rows = cas_table({256: {"real": real, "generated": fake}})
    assert [(r["trained_on"], r["top1"], r["paper"]) for r in rows] == [
        ("real", 75.0, (73.09, 91.47)),
        ("generated", 50.0, (63.02, 84.06)),
    ]
    np.testing.assert_array_equal(class_accuracies(fake), [25, 50, 75, np.nan])
    draw_comparison(real, fake, tmp_path / "c.png")
    assert "better on 1 of 4 classes" in read_caption(tmp_path / "c.png")
    images = np.stack([np.full((128, 128, 3), 25 * c, np.uint8) for c in range(8) for _ in range(2)])
    np.savez(tmp_path / "s.npz", images, np.arange(16) // 2)
    paths = {kind: tmp_path / f"{kind}.png" for kind in ("best", "worst")}
    accuracies = {"images": [4] * 7 + [0], "top1": [0, 4, 1, 3, 2, 2, 1, 0]}
    # Class 3 beats the real classifier by most though class 1 has the highest accuracy, and class 4 falls most behind.
    others = {"images": [4] * 7 + [0], "top1": [0, 4, 1, 0, 4, 2, 1, 0]}
    scores = {"real": real | {"per_class": others}, "generated": fake | {"per_class": accuracies}}
    draw_classes(scores, tmp_path / "s.npz", list("abcdefgh"), paths)
    shown = {}
    for kind, path in paths.items():
        pixels = np.asarray(Image.open(path))
        sizes = {c: (pixels == 25 * c).all(2) for c in range(8)}
        tops = {c: int(np.flatnonzero(area.sum(1) > 99)[0]) for c, area in sizes.items() if area.sum() > 10_000}
        shown[kind] = sorted(tops, key=lambda c: tops[c])
    assert shown["best"][:2] == [3, 0] and shown["worst"][0] == 4 and len(shown["best"]) == 6
    assert 7 not in shown["best"] + shown["worst"]  # a class without validation images has no accuracy
    assert "Figure 9" in read_caption(paths["best"]) and "Figure 10" in read_caption(paths["worst"])
