"""The numbers that the paper publishes (Ho et al. 2021), by the number of their table, to print beside ours."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cdm_kedro.files.table import from_csv


class Published(NamedTuple):
    """One row of a table: FID against training and against validation images, and the Inception score with its std."""

    fid_train: float
    fid_val: float | None = None
    inception_score: float | None = None
    inception_score_std: float | None = None


TABLE_1B: dict[int, dict[str, tuple[float, float]]] = {
    128: {"real": (68.82, 88.79), "generated": (59.84, 81.79)},
    256: {"real": (73.09, 91.47), "generated": (63.02, 84.06)},
}
"""Classification accuracy score by resolution: top-1 and top-5 accuracy in percent of classifiers trained on real and
on generated images."""


@cache
def published() -> dict[str, dict[str, Published]]:
    """Table to its rows, by the names that our rows have too: Tables 1a, 2, 3 and 4, and ``flips`` of section 4.3."""
    tables: dict[str, dict[str, Published]] = {}
    for row in from_csv(Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")):
        table, name, *numbers = row.values()
        tables.setdefault(table, {})[str(name)] = Published(*numbers)
    return tables


def by_s(table: str, prefix: str) -> dict[int, Published]:
    """The rows of Table 2b or 3 whose names are a prefix and s, by s."""
    rows = ((name.removeprefix(prefix), row) for name, row in published()[table].items() if name.startswith(prefix))
    return {int(s): row for s, row in rows if s.isdigit()}


def beside(table: str, row: str) -> dict[str, Any]:
    """The paper's numbers of a row in columns ``paper_<metric>``; empty where the paper has no such row."""
    found = published()[table].get(row)
    return {f"paper_{key}": value for key, value in (found._asdict() if found else {}).items() if value is not None}
