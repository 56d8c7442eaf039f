"""A table as CSV and as a page: our rows, and the paper's numbers beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.evaluation.metrics import CANONICAL, metric_names
from cdm_kedro.evaluation.paper import beside
from cdm_kedro.evaluation.pictures import draw_rows, image_uri
from cdm_kedro.files.table import Row, to_csv
from cdm_kedro.files.templates import fill_template

_PAPER_CAS = ("paper_top1", "paper_top5")


def draw_table(pictures: Mapping[str, Path], path: Path) -> None:
    """Draw each row's npz: the first samples, ``high``, and once the images that condition them, ``low``."""
    tiles: dict[str, Any] = {}
    for name, file in pictures.items():
        with np.load(file, allow_pickle=False) as arrays:
            if "low" in arrays:
                tiles.setdefault("input", arrays["low"])
            tiles[name.replace("_", " ")] = arrays["high"]
    draw_rows(tiles, path, "The first samples of every row; those that enlarge the same images share their noise.")


def write_table(
    table: str, scores: Mapping[str, Row], picture: Path | None = None, cas: Sequence[Row] = ()
) -> dict[str, str]:
    """Write a table as ``csv`` and as ``page`` (HTML).

    ``scores``: each row's settings and metrics, all by one extractor, with their ``n``. ``cas``: rows of the
    Classification Accuracy Score, for Table 1b.
    """
    rows = [{"row": name, **own, **beside(table, name)} for name, own in scores.items()]
    extractor = rows[0]["extractor"]
    names, canonical = metric_names(extractor), extractor == CANONICAL
    page = fill_template(
        Path(__file__).with_name("page.html.j2"),
        table=table,
        rows=rows,
        columns=(f"{names['fd']}_train", f"{names['fd']}_val", names["score"]),
        titles=("FID", "IS") if canonical else ("FD", "score"),
        extractor=extractor,
        canonical=canonical,
        cas=cas,
        picture=picture and image_uri(picture),
    )
    accuracies = [
        {"row": f"cas_{row['trained_on']}", **row, **dict(zip(_PAPER_CAS, row["paper"] or (), strict=False))}
        for row in cas
    ]
    return {"csv": to_csv([*rows, *accuracies]), "page": page}
