"""Where two nested values differ."""

from __future__ import annotations

from cdm_kedro.params.base import differences


def test_leaves_that_differ_are_listed_with_their_keys() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": 3}, "gone": {"x": 0}}
    new = {"a": 1, "b": {"c": [1, 3], "d": 3}, "new": None, "more": 4}
    assert list(differences(old, new)) == [
        ("b.c", [1, 2], [1, 3]),
        ("gone", {"x": 0}, None),
        ("more", None, 4),
    ]
    assert list(differences(1, {"a": 1}, "k")) == [("k", 1, {"a": 1})]
