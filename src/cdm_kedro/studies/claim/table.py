"""The claim's table: one row a point, with means over seeds, 95 % intervals, and the paper's numbers beside."""

from collections.abc import Sequence

import numpy as np

from cdm_kedro.evaluation.paper import beside, published
from cdm_kedro.files.table import Row
from cdm_kedro.params.claim import SINGLE
from cdm_kedro.studies.claim.statements import interval

ORDER = ("none", "truncated", "non_truncated", "train", "val", SINGLE)


def paper_columns(conditioning: str, s: int) -> Row:
    """The paper's numbers for a point at the same s of 4000 steps, as far as it has them.

    Table 3 is of 32 to 64 pixels with one model for all s. Table 2 is of 16 to 64 pixels with one model for each s
    (non-truncated); its single model is the better row of Table 2a.
    """
    out = {
        key.replace("paper", "paper_table3"): value for key, value in beside("table3", f"{conditioning}_s{s}").items()
    }
    row = {SINGLE: "single_more_steps", "none": f"s{s}", "non_truncated": f"s{s}"}.get(conditioning, "")
    two = published()["table2"]
    return out | ({"paper_table2_fid_train": two[row].fid_train} if row in two else {})


def average(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Average the seeds of every point.

    Returns one row a point with the mean of every metric over the seeds and, if there are several seeds,
    ``<metric>_ci95``, half the width of its interval. ``rows``: of all seeds, with ``seed``, ``conditioning``, ``s``,
    ``n`` and the metrics.
    """
    points: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        points.setdefault((row["conditioning"], int(row.get("s") or 0)), []).append(row)
    out = []
    for conditioning, s in sorted(points, key=lambda key: (ORDER.index(key[0]), key[1])):
        own = points[conditioning, s]
        made: Row = {"conditioning": conditioning, "s": s, "seeds": len(own), "n_per_seed": own[0]["n"]}
        for metric in metrics:
            values = [float(row[metric]) for row in own if row.get(metric) is not None]
            if not values:
                continue
            made[metric] = float(np.mean(values))
            if len(values) > 1:
                found = interval(values)
                made[f"{metric}_ci95"] = found.high - found.mean
        out.append({**made, **paper_columns(conditioning, s)})
    return out
