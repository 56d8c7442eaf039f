"""Node that draws a search, in a stage of its own, so that another look at the numbers samples nothing."""

from pathlib import Path
from typing import Any


def draw_search(table: str, best: dict[str, Any]) -> Path:
    """Draw the table of a search. Returns PNG."""
    from cdm_kedro.files.table import from_csv
    from cdm_kedro.studies.search.figures import FIGURES
    from cdm_kedro.tracking.scratch import scratch_dir

    out = scratch_dir(f"{best['search']}_figure") / f"{best['search']}.png"
    FIGURES[best["search"]](from_csv(table), best["metric"], out)
    return out
