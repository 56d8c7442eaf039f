"""The published numbers, and how ours find them."""

from __future__ import annotations

from cdm_kedro.evaluation.paper import beside, by_s, published


def test_published_rows_are_the_papers() -> None:
    """Every number was read from the paper's text; here are the counts, and the last row of each table."""
    assert {table: len(rows) for table, rows in published().items()} == {
        "table1": 4,
        "table2": 5,
        "table3": 27,
        "table4": 7,
        "flips": 2,
    }
    assert published()["table1"]["256"] == published()["table4"]["flips"] == (4.88, 4.63, 158.71, 2.26)
    assert published()["table3"]["val_s1501"] == (1.53, 1.64, 60.02, 0.84)
    assert published()["flips"]["without"] == (1.25, None, None, None)
    assert set(by_s("table2", "s")) == {0, 101, 1001} and by_s("table2", "s")[1001].fid_train == 2.13
    modes = {"none": 1, "truncated": 6, "non_truncated": 6, "train": 7, "val": 7}
    assert {mode: len(by_s("table3", f"{mode}_s")) for mode in modes} == modes
    assert beside("flips", "without") == {"paper_fid_train": 1.25} and beside("flips", "own") == {}
