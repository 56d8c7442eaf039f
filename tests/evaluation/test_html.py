"""Pages of one file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from cdm_kedro.evaluation.pictures import image_uri
from cdm_kedro.files.templates import fill_template


def test_templates_escape_html_and_refuse_what_is_missing(tmp_path: Path) -> None:
    for name, expected in (("page.html.j2", "a &lt;b&gt;"), ("card.md.j2", "a <b>")):
        (tmp_path / name).write_text("a {{ value }}", encoding="utf-8")
        assert fill_template(tmp_path / name, value="<b>") == expected
        with pytest.raises(jinja2.UndefinedError, match="value"):
            fill_template(tmp_path / name)


def test_large_pictures_become_smaller(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.new("RGB", (2000, 8), "red").save(small)
    noise = np.random.default_rng(0).integers(0, 256, (300, 2000, 3), np.uint8)
    Image.fromarray(noise).save(large)
    assert image_uri(small) == "data:image/png;base64," + base64.b64encode(small.read_bytes()).decode()
    kind, data = image_uri(large).split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (1600, 240)
