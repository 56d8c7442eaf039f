"""Nodes that draw a search, in a stage of their own, so that another look at the numbers samples nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_draw(search: str) -> Callable[[str, dict[str, Any]], Path]:
    """Make the drawing node of a search."""

    def draw(table: str, best: dict[str, Any]) -> Path:
        """Draw the table of a search. Returns PNG."""
        from cdm_kedro.files.table import from_csv
        from cdm_kedro.studies.search.figures import FIGURES
        from cdm_kedro.tracking.scratch import scratch_dir

        out = scratch_dir(f"{search}_figure") / f"{search}.png"
        FIGURES[search](from_csv(table), best["metric"], out)
        return out

    return draw
