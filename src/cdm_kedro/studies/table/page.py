"""A table as CSV and as a page: our rows, and the paper's numbers beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.evaluation.html import fill_template, image_uri
from cdm_kedro.evaluation.paper import beside
from cdm_kedro.evaluation.pictures import save_png, tile_rows
from cdm_kedro.evaluation.scoring import CANONICAL, metric_names
from cdm_kedro.files.table import Row, to_csv

TITLES = {
    "table1": "Table 1: the cascade on class-conditional image generation",
    "table2": "Table 2: no cascade, and a cascade by conditioning augmentation s",
    "table3": "Table 3: conditioning augmentation s with one model for all s",
    "table4": "Table 4: blur, class conditioning, large batches and flips in super-resolution",
    "flips": "Section 4.3: the base model with and without flips",
}
_PAPER_CAS = ("paper_top1", "paper_top5")


def draw_rows(pictures: Mapping[str, Path], path: Path) -> None:
    """Draw the first samples of every row, and above those that share one their low-resolution input.

    Args:
        pictures: each row's npz with the first samples, ``high``, and what conditions them, ``low``.
    """
    tiles: dict[str, Any] = {}
    for name, file in pictures.items():
        with np.load(file, allow_pickle=False) as arrays:
            if "low" in arrays:
                tiles.setdefault("input", arrays["low"])
            tiles[name] = arrays["high"]
    rows = [(name.replace("_", " "), images, [""] * len(images)) for name, images in tiles.items()]
    save_png(tile_rows(rows), path, "The first samples of every row, from the same noise.")


def write_table(
    table: str, scores: Mapping[str, Row], picture: Path | None = None, cas: Sequence[Row] = ()
) -> dict[str, str]:
    """Write a table.

    Args:
        scores: each row's settings and metrics, all by one extractor, with their ``n``.
        picture: of :func:`draw_rows`.
        cas: rows of the Classification Accuracy Score, for Table 1b.

    Returns:
        ``csv`` and ``page`` (HTML).
    """
    rows = [{"row": name, **own, **beside(table, name)} for name, own in scores.items()]
    extractor = rows[0]["extractor"]
    names, canonical = metric_names(extractor), extractor == CANONICAL
    page = fill_template(
        Path(__file__).with_name("page.html.j2"),
        title=TITLES[table],
        rows=rows,
        columns=(f"{names['fd']}_train", f"{names['fd']}_val", names["score"]),
        titles=("FID", "IS") if canonical else ("FD", "score"),
        extractor=extractor,
        canonical=canonical,
        cas=cas,
        picture=picture and image_uri(picture),
    )
    accuracies = [{**row, **dict(zip(_PAPER_CAS, row["paper"] or (), strict=False))} for row in cas]
    return {"csv": to_csv([*rows, *accuracies]), "page": page}
