"""The claim's table: one row a point, with means over seeds, 95 % intervals, and the paper's numbers beside."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from cdm_kedro.evaluation.paper import beside
from cdm_kedro.files.table import Row
from cdm_kedro.params.claim import SINGLE
from cdm_kedro.studies.claim.statements import interval

ORDER = ("none", "truncated", "non_truncated", "train", "val", SINGLE)


def paper_columns(conditioning: str, s: int) -> Row:
    """The paper's numbers for a point at the same s of 4000 steps, as far as it has them.

    Table 3 is of 32 to 64 pixels with one model for all s. Table 2 is of 16 to 64 pixels with one model for each s
    (non-truncated); its single model is the better row of Table 2a.
    """
    three = beside("table3", f"{conditioning}_s{s}")
    row = {SINGLE: "single_more_steps", "none": f"s{s}", "non_truncated": f"s{s}"}.get(conditioning, "")
    numbers = {key.replace("paper", "paper_table3"): value for key, value in three.items()}
    two = beside("table2", row).get("paper_fid_train")
    return numbers | ({} if two is None else {"paper_table2_fid_train": two})


def average(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Average the seeds of every point.

    Returns one row a point with the mean of every metric over the seeds and, if there are several seeds,
    ``<metric>_ci95``, half the width of its interval. ``rows``: of all seeds, with ``seed``, ``conditioning``, ``s``,
    ``n`` and the metrics.
    """

    def point(row: Row) -> tuple[int, int]:
        return ORDER.index(row["conditioning"]), int(row.get("s") or 0)

    out = []
    for (number, s), group in groupby(sorted(rows, key=point), point):
        own = list(group)
        made: Row = {"conditioning": ORDER[number], "s": s, "seeds": len(own), "n_per_seed": own[0]["n"]}
        for metric in metrics:
            values = [float(row[metric]) for row in own if metric in row]
            if values:
                made[metric] = float(np.mean(values))
            if len(values) > 1:
                found = interval(values)
                made[f"{metric}_ci95"] = found.high - found.mean
        out.append({**made, **paper_columns(ORDER[number], s)})
    return out
