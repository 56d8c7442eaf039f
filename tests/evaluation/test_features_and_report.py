from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cdm_kedro.data.embedded import CLASSES, render
from cdm_kedro.evaluation.features import make_extractor
from cdm_kedro.evaluation.metrics import kernel_distance
from cdm_kedro.evaluation.report import render as render_report
from cdm_kedro.evaluation.sources import SourceError, open_npz
from cdm_kedro.evaluation.statistics import frechet_distance_of_features


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([render(name, "train", i, 64, 0) for i in range(16) for name in CLASSES])


def test_distances_grow_with_blur_noise_and_lost_modes(pictures: np.ndarray) -> None:
    extractor = make_extractor("efficientnet_lite0", None, 128)
    features = lambda x: np.concatenate([extractor(b)[0] for b in np.array_split(x, 4)])  # noqa: E731
    half = len(pictures) // 2
    real, held_out = features(pictures[:half]), pictures[half:]
    rng = np.random.default_rng(0)
    blur = lambda s: np.stack([cv2.GaussianBlur(p, (0, 0), s) for p in held_out])  # noqa: E731
    noise = lambda s: np.clip(held_out + rng.normal(0, s, held_out.shape), 0, 255).astype(np.uint8)  # noqa: E731
    lost = np.concatenate([held_out[:8]] * (half // 8))
    floor = features(held_out)
    for worse in ((blur(0.7), blur(2.0)), (noise(8), noise(40)), (lost,)):
        sets = [floor, *(features(x) for x in worse)]
        fd = [frechet_distance_of_features(s, real) for s in sets]
        kd = [kernel_distance(s, real, subset_size=60)[0] for s in sets]
        assert fd == sorted(fd) and kd == sorted(kd)
    assert extractor.name == "efficientnet_lite0_128px" and floor.shape == (half, 1280)


def test_extractor_recognizes_and_refuses(pictures: np.ndarray) -> None:
    extractor = make_extractor("efficientnet_lite0", None, 224)
    big = np.stack([render("balloon", "val", i, 256, 0) for i in range(4)])
    _, logits = extractor(big)
    assert (logits.argmax(1) == 417).any()  # ImageNet's class "balloon"
    with pytest.raises(ValueError, match="uint8"):
        extractor(pictures[:2].astype(np.float32))
    with pytest.raises(ValueError, match="unknown"):
        make_extractor("clip", None, 224)


def test_npz_sources_are_checked(tmp_path: Path) -> None:
    cases = {
        "no array arr_0": {"x": np.zeros(3)},
        "expected": {"arr_0": np.zeros((4, 8, 8), np.uint8)},
        "NaN": {"arr_0": np.full((4, 8, 8, 3), np.nan)},
        "convert it to uint8": {"arr_0": np.zeros((4, 8, 8, 3), np.float32)},
    }
    for message, arrays in cases.items():
        path = tmp_path / "a.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(SourceError, match=message):
            open_npz(path)


def test_report_shows_everything_and_loads_nothing(tmp_path: Path) -> None:
    from PIL import Image

    grid = tmp_path / "g.png"
    Image.new("RGB", (32, 32), "red").save(grid)
    name = "efficientnet_lite0"
    scores = {f"{k}_{name}_{s}{e}": 1.5 for k in ("fd", "kd") for s in ("train", "val") for e in ("", "_std", "_se")}
    metrics = {
        "extractor": {"name": name, "weights_sha256": "ab" * 32, "preprocessing": "p", "dim": 1280},
        "32px": {"n": 8, **scores, f"score_{name}": 3.0, f"score_{name}_std": 0.1, "note": "8 samples"},
    }
    card = {
        "parameters": 1e6,
        "steps": 10,
        "images_seen": 80,
        "seconds": 3.0,
        "images_per_second": 20.0,
        "device": "cpu",
        "processes": 1,
        "mlflow_run": "0123456789",
        "params": {"resolution": 32, "low_resolution": None, "note": "<script>alert(1)</script>"},
    }
    data = {"classes": 2, "source": {"images": {"train": 10, "val": 4}}}
    curve = [{"step": float(i), "loss": 1.0 / i, "loss_q1": 0.5 / i} for i in range(1, 6)]
    html = render_report("My <cascade>", metrics, data, {"base32": card}, {"base32": curve}, {"32": grid})
    assert "My &lt;cascade&gt;" in html and "<script" not in html
    assert "1.11" in html and "26.01" in html  # the paper's Table 1a
    assert "not Inception features" in html and "8 samples" in html and "01234567" in html
    assert "<svg" in html and "data:image/png;base64" in html
    assert 'src="http' not in html and "href=" not in html.replace("xlink:href", "")
