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
        params: title and price.
        parts: ``<stage>_card``, ``<stage>_curve``, ``grid_<resolution>`` (paths), ``figure_<name>`` (paths of further
            PNG files, which hold their captions) and, where it exists, ``cas`` (see the pipeline of that name).

    Returns:
        HTML.
    """
    from cdm_kedro.evaluation.report import render

    cards = {key.removesuffix("_card"): value for key, value in parts.items() if key.endswith("_card")}
    curves = {key.removesuffix("_curve"): value for key, value in parts.items() if key.endswith("_curve")}
    grids = {key.removeprefix("grid_"): Path(value) for key, value in parts.items() if key.startswith("grid_")}
    figures = {key.removeprefix("figure_"): Path(value) for key, value in parts.items() if key.startswith("figure_")}
    return render(
        params.title,
        metrics,
        data_card,
        cards,
        curves,
        grids,
        figures,
        parts.get("cas"),
        params.price_per_device_hour,
        params.currency,
    )
