from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_kedro.data.embedded.drawings import CLASSES
from cdm_kedro.data.embedded.generate import generate, render
from cdm_kedro.errors import CdmError
from cdm_kedro.params.data import EmbeddedParams


def small_set(train: int, val: int, size: int, jpeg_quality: int, seed: int) -> EmbeddedParams:
    return EmbeddedParams(
        train_per_class=train, val_per_class=val, size=size, jpeg_quality=jpeg_quality, seed=seed, variety=0.0
    )


def test_embedded_images_are_deterministic_varied_and_classed(tmp_path: Path) -> None:
    a = generate(tmp_path / "a", small_set(2, 1, 64, 90, 3))
    b = generate(tmp_path / "b", small_set(2, 1, 64, 90, 3))
    files = sorted(p.relative_to(a) for p in a.rglob("*.jpg"))
    assert len(files) == len(CLASSES) * 3 >= 30
    assert all((a / f).read_bytes() == (b / f).read_bytes() for f in files)
    assert len({(a / f).read_bytes() for f in files}) == len(files)
    other = render("fish", "train", 0, 64, seed=4)
    assert not np.array_equal(other, render("fish", "train", 0, 64, seed=3))


def test_variety_changes_view_and_light_and_nothing_without_it() -> None:
    assert np.array_equal(render("fish", "train", 0, 64, 0, variety=0.0), render("fish", "train", 0, 64, 0))

    def seen(variety: float) -> tuple[set[int], float]:
        images = np.stack([render("fish", "train", i, 64, 0, variety) for i in range(40)]).astype(float)
        water = images[:, :3].mean((1, 2)).argmax(1)
        return set(water.tolist()), float(images.std(0).mean())

    (composed, spread), (varied, wide) = seen(0.0), seen(1.0)
    assert 0 not in composed  # water is blue or green ...
    assert varied == {0, 1, 2} and wide > 1.3 * spread  # ... and now of any colour


def test_embedded_images_have_detail_at_every_scale() -> None:
    """A 256-pixel model has something to add: each octave above 32 pixels holds energy."""
    for name in CLASSES:
        image = torch.from_numpy(render(name, "train", 0, 256, 0).astype(np.float32)).permute(2, 0, 1)[None]
        levels = [image] + [torch.nn.functional.avg_pool2d(image, k) for k in (2, 4, 8)]
        for fine, coarse in itertools.pairwise(levels):
            lost = fine - torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
            assert lost.std() > 2.0, name


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("balloon", "69d901189041ca7f980f737548c3ae4f6fd2454defd179d7853bd93b47d542f8"),
        ("sailboat", "1defecfd8704ebcf463c4ce751b8ed1be1f3b449f095e25bf9afd09eacd01741"),
    ],
)
def test_pixels_never_change(name: str, sha256: str) -> None:
    pixels = render(name, "train", 1, 96, 0, variety=0.5)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == sha256


def test_a_full_disk_is_said_and_nothing_left(small_disk: Path) -> None:
    with pytest.raises(CdmError, match="small: no space left on its file system"):
        generate(small_disk / "images", small_set(40, 1, 256, 100, 0))
    assert list(small_disk.iterdir()) == []


@pytest.mark.usefixtures("worker_killed")
def test_a_killed_process_is_said_and_nothing_left(tmp_path: Path) -> None:
    with pytest.raises(CdmError, match=r"drawing the embedded data set: one of .* worker processes was killed"):
        generate(tmp_path / "images", small_set(100, 1, 256, 90, 0))
    assert list(tmp_path.iterdir()) == []
