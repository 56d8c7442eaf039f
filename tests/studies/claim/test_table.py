"""The claim's table beside the paper's."""

from __future__ import annotations

import numpy as np
import pytest
from claim_rows import curves
from scipy import stats

from cdm_kedro.studies.claim.report import average


def test_the_table_stands_beside_the_papers() -> None:
    rows = curves(
        np.random.default_rng(5), 3, 0.1, none={0: 9}, non_truncated={101: 5, 251: 6}, train={251: 3}, single={0: 8}
    )
    table = {(row["conditioning"], row["s"]): row for row in average(rows, ["fd"])}
    assert list(table) == [("none", 0), ("non_truncated", 101), ("non_truncated", 251), ("train", 251), ("single", 0)]
    assert table["none", 0]["paper_table3_fid_train"] == 1.71 and table["none", 0]["paper_table2_fid_train"] == 6.02
    assert table["non_truncated", 101]["paper_table2_fid_train"] == 3.41
    assert "paper_table3_fid_train" not in table["non_truncated", 101]
    assert table["train", 251]["paper_table3_fid_val"] == 1.85 and table["single", 0]["paper_table2_fid_train"] == 2.35
    own = [row["fd"] for row in rows if row["conditioning"] == "train"]
    assert table["train", 251]["fd"] == pytest.approx(np.mean(own))
    low, _ = stats.t.interval(0.95, 2, np.mean(own), stats.sem(own))
    assert table["train", 251]["fd_ci95"] == pytest.approx(np.mean(own) - low)
