from __future__ import annotations

from cdm_kedro.files.table import from_csv, to_csv


def test_rows_survive_and_columns_stand_in_order_of_first_appearance() -> None:
    rows = [{"name": "a", "s": 5, "fd": 0.25}, {"name": "b", "fd": 1e-7, "more": -3}]
    text = to_csv(rows)
    assert text == "name,s,fd,more\na,5,0.25,\nb,,1e-07,-3\n"
    assert from_csv(text) == rows
    assert [type(value) for value in from_csv(text)[0].values()] == [str, int, float]


def test_a_table_without_rows() -> None:
    assert from_csv(to_csv([])) == []
