"""Report nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import ReportParams


def report(
    metrics: dict[str, Any], data_card: dict[str, Any], sampling: dict[str, Any], params: ReportParams, **parts: Any
) -> str:
    """Put everything worth looking at on one page.

    Args:
        metrics: what evaluation returned.
        data_card: what preprocessing recorded.
        sampling: the card of sampling.
        params: title and price.
        parts: ``<stage>_card``, ``<stage>_curve``, ``grid_<resolution>`` (paths), ``figure_<name>`` (paths of further
            PNG files, which hold their captions) and, where ``report.include`` has them, ``cas`` and ``likelihood``
            (what the pipelines of those names made).

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
        sampling,
        cards,
        curves,
        grids,
        figures,
        parts.get("cas"),
        parts.get("likelihood"),
        params.price_per_device_hour,
        params.currency,
    )


def draw_single_images(single_images: Path, samples: Path, train: Path, metrics: dict[str, Any]) -> dict[str, Path]:
    """Draw samples beside their nearest training images, and the samples that the features find best and worst.

    Args:
        single_images: what evaluation chose.
        samples: npz of the samples at the largest size.
        train: FFCV file of the training images at that size.
        metrics: what evaluation returned.

    Returns:
        ``neighbours`` and ``realism``: PNG files, whose captions are in their ``Description``.
    """
    import numpy as np

    from cdm_kedro.evaluation.pictures import draw_neighbours, draw_realism
    from cdm_kedro.evaluation.sources import BetonSource, NpzSource
    from cdm_kedro.tracking.scratch import scratch_dir

    folder = scratch_dir("report")
    out = {name: folder / f"{name}.png" for name in ("neighbours", "realism")}
    with np.load(single_images, allow_pickle=False) as arrays:
        chosen = {key: arrays[key] for key in arrays.files}
    generated = NpzSource(samples)
    name = metrics["extractor"]["name"]
    draw_neighbours(chosen, generated, BetonSource(train), metrics["memorization"], name, out["neighbours"])
    draw_realism(chosen, generated, name, out["realism"])
    return out
