from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cdm_kedro.files.table import from_csv, to_csv
from cdm_kedro.studies.search.figures import FIGURES


def test_figures_show_the_rows(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "search_truncation": [
            {"conditioning": c, "s": s, "fd": 2.0 + s / 10, "fd_std": 0.1}
            for c, s in (("none", 0), ("truncated", 5), ("non_truncated", 5), ("train", 0), ("val", 0))
        ],
        "search_steps": [
            {"steps": n, "schedule": schedule, "fd": k / n, **({"report_fd": 0.5 / n} if k == 1 else {})}
            for n in (4, 16, 1000)
            for schedule, k in (("train", 2), ("linear", 1))
        ],
        "search_schedule": [
            {"schedule": "cosine", "fd": 1.0},
            {"schedule": "log", "beta_start": 0.1, "beta_end": 0.2, "fd": 2.0},
            {"schedule": "log", "beta_start": 0.1, "fd": 3.0},
        ],
    }
    for name, some in rows.items():
        text = to_csv(some)
        assert from_csv(text) == some
        assert csv.DictReader(io.StringIO(text)).fieldnames == list(dict.fromkeys(k for row in some for k in row))
        FIGURES[name](from_csv(text), "fd", tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape == (630, 960, 3) and (pixels == np.array([0x25, 0x63, 0xEB])).all(-1).any()
