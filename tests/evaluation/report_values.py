"""What a report is made from, and a report in which every name that a user chooses is hostile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from cdm_kedro.evaluation.pictures import save_png
from cdm_kedro.evaluation.report import render
from cdm_kedro.params.evaluation import ReportParams

NAME = "efficientnet_lite0"
CARD = {
    "parameters": 1e6,
    "steps": 10,
    "images_seen": 80,
    "seconds": 1800.0,
    "images_per_second": 20.0,
    "device": "cpu",
    "processes": 2,
    "mlflow_run": "0123456789",
    "params": {"resolution": 32, "low_resolution": None, "note": "<script>alert(1)</script>"},
}


def metrics() -> dict[str, Any]:
    scores = {f"{k}_{NAME}_{s}{e}": 1.5 for k in ("fd", "kd") for s in ("train", "val") for e in ("", "_std", "_se")}
    return {
        "extractor": {"name": NAME, "weights_sha256": "ab" * 32, "preprocessing": "p", "dim": 1280},
        "32px": {"n": 8, "reference_n_train": 70, "reference_n_val": 60, **scores, f"score_{NAME}": 3.0, "note": "few"},
        "memorization": {
            "share_of_samples_nearer_than_nearest_val": 0.25,
            "samples": 8,
            "val_images": 60,
            "train_images": 70,
            "median_distance_samples_to_train": 3.0,
            "median_distance_val_to_train": 4.0,
        },
    }


SAMPLING = {"seconds": 20.0, "num_samples": 8.0, "images_per_second": 0.4, "mlflow_run": "0a1b2c3d4e", "params": {}}
HOSTILE = (
    """</pre></title><script>document.title = 'mine'</script><img src=x onerror="document.title = 'mine'">'"{{ 1 }}"""
)
"""A name of a class, of a model or of the report that tries to become a part of the page."""


def hostile_report(folder: Path) -> str:
    """A report with hostile title, classes, models, captions and currency."""
    grid, figure = folder / "g.png", folder / "f.png"
    Image.new("RGB", (32, 32), "red").save(grid)
    save_png(Image.new("RGB", (32, 32), "blue"), figure, HOSTILE)
    data = {"classes": 1, "source": {"images": {"train": 10, "val": 4}}, "per_class": {"train": {HOSTILE: 10}}}
    curve = [{"step": float(i), "loss": 1.0 / i, HOSTILE: 0.5 / i} for i in range(1, 6)]
    params = ReportParams(title=HOSTILE, price_per_device_hour=2.5, currency=HOSTILE)
    card = {**CARD, "device": HOSTILE, "params": {**CARD["params"], "note": HOSTILE}}
    sampling = {**SAMPLING, "params": {"note": HOSTILE}}
    return render(params, metrics(), data, sampling, {HOSTILE: card}, {HOSTILE: curve}, {"32": grid}, {HOSTILE: figure})
