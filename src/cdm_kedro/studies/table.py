"""Tables of results as CSV."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from typing import Any

Row = dict[str, Any]


def table_csv(rows: list[Row]) -> str:
    """Rows as CSV, columns in order of first appearance."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def read_table(text: str) -> list[Row]:
    """Rows of a search's CSV; numbers as numbers, empty cells left out."""
    rows = []
    for row in csv.DictReader(io.StringIO(text)):
        cells = {key: value for key, value in row.items() if value != ""}
        rows.append({key: _number(value) for key, value in cells.items()})
    return rows


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
