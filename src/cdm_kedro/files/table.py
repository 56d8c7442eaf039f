"""Tables as CSV text whose bytes depend on the rows alone."""

import csv
import io
from contextlib import suppress
from typing import Any

Row = dict[str, Any]


def to_csv(rows: list[Row]) -> str:
    """Write rows as CSV under one header.

    Columns stand in the order in which they first appear. A row without a column leaves its cell empty.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def from_csv(text: str) -> list[Row]:
    """Read the rows of a CSV text. Cells become int or float where they can; empty cells are left out."""
    return [
        {key: _value(cell) for key, cell in row.items() if cell not in ("", None)}
        for row in csv.DictReader(io.StringIO(text))
    ]


def _value(cell: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(cell)
    return cell
