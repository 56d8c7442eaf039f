"""The page of a run."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.backend_bases import FigureCanvasBase
from PIL import Image
from report_values import CARD, HOSTILE, SAMPLING, hostile_report, metrics

from cdm_kedro.evaluation.pictures import save_png
from cdm_kedro.evaluation.report import curve_svg, render, training_cost
from cdm_kedro.params.evaluation import ReportParams


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


class Elements(HTMLParser):
    """Collects a page's elements and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs if name.startswith("on"))}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    page = Elements(hostile_report(tmp_path))
    assert not page.found & {"script", "onerror", "iframe", "object"}
    assert page.text.count(HOSTILE) >= 8  # title twice, curve, table, currency, caption, device, summary


def test_a_curve_is_drawn_while_a_thread_imports_ipython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As MLflow's client does; Matplotlib would look into the half of it."""
    points = [{"step": 1.0, "loss": 1.0}, {"step": 2.0, "loss": 0.5}]
    curve_svg(points)  # Matplotlib's own import would take longer than the thread's
    FigureCanvasBase._fix_ipython_backend2gui.cache_clear()  # it looks once a process
    (tmp_path / "IPython.py").write_text("import time\ntime.sleep(0.5)\nversion_info = (9, 0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    thread = threading.Thread(target=importlib.import_module, args=["IPython"])
    thread.start()
    while "IPython" not in sys.modules:
        time.sleep(0.01)
    try:
        assert curve_svg(points).startswith("<svg")
    finally:
        thread.join()
        del sys.modules["IPython"]
