"""The page of a run."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from cdm_kedro.evaluation.pictures import save_png
from cdm_kedro.evaluation.report import render, training_cost
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


def metrics() -> dict:
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


def test_report_shows_everything_and_loads_nothing(tmp_path: Path) -> None:
    grid, figure = tmp_path / "g.png", tmp_path / "f.png"
    Image.new("RGB", (32, 32), "red").save(grid)
    save_png(Image.new("RGB", (32, 32), "blue"), figure, "Caption, Kynkäänniemi & <b>")
    data = {"classes": 2, "source": {"images": {"train": 10, "val": 4}}}
    curve = [{"step": float(i), "loss": 1.0 / i, "loss_q1": 0.5 / i} for i in range(1, 6)]
    params = ReportParams(title="My <cascade>", price_per_device_hour=2.5, currency="EUR")
    base = (params, metrics(), data, SAMPLING, {"base32": CARD}, {"base32": curve}, {"32": grid})
    bits = {"base32": {"n": 8, "terms": 50, "s": 0, "bits_per_dim": 3.456, "cascade_bits_per_dim": 3.456}}
    html = render(*base, {"neighbours": figure, "search_s": grid}, likelihood=bits)
    assert "3.46" in html and "Looked at one by one" in html and 'alt="search_s"' in html
    assert "My &lt;cascade&gt;" in html and "<script" not in html
    assert "1.11" in html and "26.01" in html  # the paper's Table 1a
    assert "not Inception features" in html and "01234567" in html
    assert "32 px: few; against 70 training and 60 validation images" in html
    assert "Caption, Kynkäänniemi &amp; &lt;b&gt;" in html and "25.0 % of 8 samples" in html
    assert "1.00 device hours in all, 2.50 EUR" in html
    assert "Sampling took 20 s for 8 images at every size, 0.4 a second (MLflow run <code>0a1b2c3d</code>)." in html
    assert "<svg" in html and "data:image/png;base64" in html and "Classification accuracy" not in html
    assert 'src="http' not in html and "href=" not in html.replace("xlink:href", "")
    row = {"resolution": 256, "trained_on": "generated", "images": 80, "top1": 12.345, "top5": 50.0}
    row |= {"validation_images": 40, "network": "ResNet-18", "paper": (63.02, 84.06)}
    converted = {"parameters": 1e6, "source": "openai/guided-diffusion", "params": CARD["params"]}
    html = render(*base[:4], {"base32": converted}, {}, {"32": grid}, cas=[row])
    assert "converted from openai/guided-diffusion" in html and "Looked at one by one" not in html
    assert "12.35 %" in html and "63.02" in html and "a ResNet-18 trained on nothing but" in html
    assert training_cost({"a": CARD, "b": CARD}, None) == {"a": 1.0, "b": 1.0, "total": 2.0}


def test_converted_model_is_reported_without_training(tmp_path: Path) -> None:
    grid = tmp_path / "g.png"
    Image.new("RGB", (32, 32), "red").save(grid)
    converted = {"source": "published.pt", "parameters": 2e6, "num_classes": 2, "params": CARD["params"]}
    data = {"classes": 2, "source": {"images": {"train": 10, "val": 4}}}
    html = render(ReportParams(), metrics(), data, SAMPLING, {"a": converted, "b": CARD}, {}, {"32": grid})
    assert "converted from published.pt" in html and "1.00 device hours in all" in html
