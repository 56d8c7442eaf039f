"""Report node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import ReportParams


def report(metrics: dict[str, Any], data_card: dict[str, Any], params: ReportParams, **parts: Any) -> str:
    """Put everything worth looking at on one page.

    Args:
        metrics: what evaluation returned.
        data_card: what preprocessing recorded.
        params: title.
        parts: ``<stage>_card``, ``<stage>_curve`` and ``grid_<resolution>`` (paths).

    Returns:
        HTML.
    """
    from cdm_kedro.evaluation.report import render

    cards = {key.removesuffix("_card"): value for key, value in parts.items() if key.endswith("_card")}
    curves = {key.removesuffix("_curve"): value for key, value in parts.items() if key.endswith("_curve")}
    grids = {key.removeprefix("grid_"): Path(value) for key, value in parts.items() if key.startswith("grid_")}
    return render(params.title, metrics, data_card, cards, curves, grids)
