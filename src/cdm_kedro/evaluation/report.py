"""The page of a run: samples, metrics, training curves and costs in one HTML file."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.metrics import CANONICAL, metric_names
from cdm_kedro.evaluation.paper import published
from cdm_kedro.evaluation.pictures import BLUE, image_uri, read_caption, wait_for_ipython
from cdm_kedro.files.templates import fill_template
from cdm_kedro.params.evaluation import ReportParams

_SINGLE_IMAGES = ("neighbours", "realism")
_GREY = {"color": "#9ca3af", "linewidth": 1}
_LINES: dict[str, dict[str, Any]] = {
    "loss_q1": {"alpha": 0.75, "label": "quarter of t with least noise", **_GREY},
    "loss_q2": {"alpha": 0.55, **_GREY},
    "loss_q3": {"alpha": 0.4, **_GREY},
    "loss_q4": {"alpha": 0.25, "label": "most noise", **_GREY},
    "loss": {"color": BLUE, "linewidth": 1.6, "label": "loss"},
}


def curve_svg(rows: Sequence[Mapping[str, float]]) -> str:
    """Loss against optimizer steps, with its mean in each quarter of the noise levels, as an SVG element."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    wait_for_ipython()
    with matplotlib.rc_context(
        {"svg.hashsalt": "cdm", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    ):
        figure = Figure(figsize=(4.4, 2.6))
        FigureCanvasSVG(figure)  # its measure of text decides the layout
        axes = figure.subplots()
        for column, style in _LINES.items():
            points = [(row["step"], row[column]) for row in rows if column in row]
            if points:
                axes.plot(*zip(*points, strict=True), **style)
                axes.set_yscale("log" if column == "loss" else axes.get_yscale())
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (log)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
        figure.tight_layout()
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]


def training_cost(cards: Mapping[str, Mapping[str, Any]], price: float | None) -> dict[str, float]:
    """Device hours of every model that was trained here, their ``total``, and its ``price`` if an hour has one."""
    hours = {name: card["seconds"] * card["processes"] / 3600 for name, card in cards.items() if "seconds" in card}
    total = sum(hours.values())
    return {**hours, "total": total, **({} if price is None else {"price": total * price})}


def render(
    params: ReportParams,
    metrics: Mapping[str, Any],
    data_card: Mapping[str, Any],
    sampling: Mapping[str, Any],
    cards: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Sequence[Mapping[str, float]]],
    grids: Mapping[str, Path],
    figures: Mapping[str, Path] | None = None,
    **tables: Any,
) -> str:
    """Make the page.

    Returns the HTML. ``sampling``: the card of sampling, with ``seconds`` and ``num_samples``. ``figures``: further
    PNG files by name, each shown with the caption that it holds. ``tables``: what the pipelines ``cas`` and
    ``likelihood`` made, by these names, and the stage ``register`` as ``registered``, if it is to be shown.
    """
    extractor = metrics["extractor"]["name"]
    scores = {side: metrics[f"{side}px"] for side in sorted(int(key[:-2]) for key in metrics if key.endswith("px"))}
    pictures = [(name, image_uri(path), read_caption(path)) for name, path in (figures or {}).items()]
    return fill_template(
        Path(__file__).with_name("report.html.j2"),
        title=params.title,
        extractor=metrics["extractor"],
        canonical=extractor == CANONICAL,
        memorization=metrics.get("memorization"),
        names=metric_names(extractor),
        scores=scores,
        paper=published()["table1"],
        data=data_card,
        sampling=sampling,
        cards=cards,
        cost=training_cost(cards, params.price_per_device_hour),
        currency=params.currency,
        curves={name: curve_svg(points) for name, points in curves.items()},
        grids={resolution: image_uri(path) for resolution, path in grids.items()},
        single_images=[picture for picture in pictures if picture[0] in _SINGLE_IMAGES],
        figures=[picture for picture in pictures if picture[0] not in _SINGLE_IMAGES],
        **{"cas": None, "likelihood": None, "registered": None, **tables},
    )
