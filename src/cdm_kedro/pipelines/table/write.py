"""Nodes that write a table down; apart from its rows, so that another look at the numbers samples nothing."""

from collections.abc import Callable, Sequence
from typing import Any


def make_write(table: str) -> Callable[..., dict[str, Any]]:
    """The node that writes a table whose rows are parameters."""

    def write(rows: dict[str, Any], **parts: Any) -> dict[str, Any]:
        """Put ``scores_<row>`` beside the paper's, in the order of the parameters, and draw ``pictures_<row>``."""
        from cdm_kedro.studies.table.page import draw_table, write_table
        from cdm_kedro.tracking.scratch import scratch_dir

        picture = scratch_dir(table) / f"{table}.png"
        draw_table({name: parts[f"pictures_{name}"] for name in rows}, picture)
        page = write_table(table, {name: parts[f"scores_{name}"] for name in rows}, picture)
        return {**page, "pictures": picture}

    return write


def write_table1(metrics: dict[str, Any], cas_table: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Put the scores of the cascade, and of classifiers if there are any, beside the paper's Tables 1a and 1b."""
    from cdm_kedro.studies.table.page import write_table

    extractor = {"extractor": metrics["extractor"]["name"]}
    sizes = sorted(int(key.removesuffix("px")) for key in metrics if key.endswith("px"))
    return write_table("table1", {str(side): {**metrics[f"{side}px"], **extractor} for side in sizes}, cas=cas_table)
