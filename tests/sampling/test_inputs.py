from __future__ import annotations

from pathlib import Path

from cdm_kedro.sampling.inputs import sort_inputs


def test_datasets_are_sorted_by_their_names() -> None:
    found = {"stage": "sr", "values": {"s": 5}}
    inputs = {"base_model": Path("b"), "sr_model": "s", "val_8": Path("v"), "search_truncation_best": found}
    models, real, best = sort_inputs(inputs)
    assert list(models.items()) == [("base", Path("b")), ("sr", Path("s"))]
    assert real == {"val_8": Path("v")} and best == {"search_truncation": found}
