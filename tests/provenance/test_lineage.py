"""What the lineage asks MLflow."""

from __future__ import annotations

import pytest

from cdm_kedro.provenance.lineage import _in_filter


@pytest.mark.parametrize("text", ["plain", "it's", "a`b", "two words", "x' or '1' = '1"])
def test_quotes_in_names_stay_names(text: str) -> None:
    from mlflow.utils.search_utils import SearchUtils

    found = SearchUtils.parse_search_filter(f"tags.{_in_filter(f'dvc.{text}', '`')} = {_in_filter(text)}")
    assert [(condition["key"], condition["value"]) for condition in found] == [(f"dvc.{text}", text)]
