"""A table as CSV and as a page, beside the paper's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.files.table import from_csv
from cdm_kedro.pipelines.table.write import make_write, write_table1


def test_rows_stand_in_the_order_of_the_parameters_beside_the_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDM_SCRATCH", str(tmp_path))
    parts = {}
    for i, name in enumerate(("s101", "own", "single")):
        numbers = {"fid_train": 10.0 + i, "fid_val": 11.0 + i, "inception_score": 5.0, "inception_score_std": 0.5}
        parts[f"scores_{name}"] = {"model": "m", "resolution": 8, "n": 50, "extractor": "inception2015", **numbers}
        shown = {"high": np.full((3, 8, 8, 3), 50 * i, np.uint8)}
        shown |= {} if name == "single" else {"low": np.full((3, 4, 4, 3), 200, np.uint8)}
        np.savez(tmp_path / f"{name}.npz", **shown)
        parts[f"pictures_{name}"] = tmp_path / f"{name}.npz"
    made = make_write("table2")({"single": {}, "s101": {}, "own": {}}, **parts)
    rows = from_csv(made["csv"])
    assert [row["row"] for row in rows] == ["single", "s101", "own"]
    assert [row.get("paper_fid_train") for row in rows] == [2.44, 3.41, None]
    assert (rows[1]["paper_inception_score"], rows[1]["paper_inception_score_std"]) == (44.72, 1.12)
    page = made["page"]
    assert "<td>10.00</td><td>11.00</td><td>5.00 <small>± 0.50</small></td>" in page.replace("\n", "")
    assert "44.72 <small>± 1.12</small>" in page and "cannot be compared" not in page and "data:image/png" in page
    with Image.open(made["pictures"]) as picture:
        greys = np.asarray(picture)[:, -100, 0]  # through the middle of the last column
    tops = {grey: int(np.argmax(greys == grey)) for grey in (100, 200, 0, 50)}
    assert sorted(tops, key=lambda grey: tops[grey]) == [100, 200, 0, 50]  # single, input, s101, own


def test_table1_joins_the_cascades_scores_and_the_classifiers() -> None:
    size = {"fd_x_train": 3.0, "fd_x_val": 4.0, "score_x": 2.0, "n": 80}
    cas = [{"resolution": 128, "trained_on": kind, "images": 9, "top1": 50.0, "top5": 70.0} for kind in ("real", "new")]
    made = write_table1(
        {"extractor": {"name": "x"}, "128px": size, "32px": size},
        [{**cas[0], "paper": (68.82, 88.79)}, {**cas[1], "paper": None}],
    )
    rows = from_csv(made["csv"])
    assert [(row.get("row"), row.get("paper_fid_val"), row.get("paper_top1")) for row in rows] == [
        (32, 1.99, None),
        (128, 3.76, None),
        ("cas_real", None, 68.82),
        ("cas_new", None, None),
    ]
    assert "whose values cannot be compared" in made["page"] and "Table 1b" in made["page"]
    assert (
        "<td>ADM+upsampling</td><td>256</td><td>7.49</td><td>127.49</td>" in made["page"] and "VQ-VAE-2" in made["page"]
    )
    assert "Table 1b" not in write_table1({"extractor": {"name": "x"}, "128px": size})["page"]
