"""The HTML report: one file, no external assets."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.paper import TABLE_1A
from cdm_kedro.evaluation.pictures import read_caption

_SINGLE_IMAGES = ("neighbours", "realism")
_BLUE, _GREY = "#2563eb", "#9ca3af"


def curve_svg(rows: list[dict[str, float]]) -> str:
    """Loss against optimizer steps, with the quartiles of the noise level, as an SVG element."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"svg.hashsalt": "cdm", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}):
        figure, axes = plt.subplots(figsize=(4.4, 2.6))
        for quartile, shade in zip(("loss_q1", "loss_q2", "loss_q3", "loss_q4"), (0.75, 0.55, 0.4, 0.25), strict=True):
            points = [(r["step"], r[quartile]) for r in rows if quartile in r]
            if points:
                label = {"loss_q1": "quarter of t with least noise", "loss_q4": "most noise"}.get(quartile)
                axes.plot(*zip(*points, strict=True), color=_GREY, alpha=shade, linewidth=1, label=label)
        points = [(r["step"], r["loss"]) for r in rows if "loss" in r]
        if points:
            axes.plot(*zip(*points, strict=True), color=_BLUE, linewidth=1.6, label="loss")
            axes.set_yscale("log")
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (log)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
        figure.tight_layout()
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
        plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]


def image_uri(path: Path, max_width: int = 1600) -> str:
    """A picture as a data URI: PNG as it is when small, else JPEG at most ``max_width`` wide."""
    from PIL import Image

    data = path.read_bytes()
    if len(data) > 1_000_000:
        with Image.open(path) as image:
            picture = image.convert("RGB")
        if picture.width > max_width:
            picture = picture.resize(
                (max_width, round(picture.height * max_width / picture.width)), Image.Resampling.LANCZOS
            )
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return "data:image/png;base64," + base64.b64encode(data).decode()


def metric_rows(metrics: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Column titles and one row a resolution, our scores with uncertainty and the paper's beside."""
    from cdm_kedro.evaluation.scoring import CANONICAL, metric_names

    name = metrics["extractor"]["name"]
    canonical, names = name == CANONICAL, metric_names(name)
    titles = ["FID" if canonical else "FD", "KD × 10³", "IS" if canonical else "score"]

    def pair(ours: dict[str, Any], key: str, error: str, scale: float = 1.0) -> tuple[float | None, float | None]:
        value, spread = ours.get(key), ours.get(f"{key}_{error}")
        return None if value is None else value * scale, None if spread is None else spread * scale

    rows = []
    for resolution in sorted(int(key[:-2]) for key in metrics if key.endswith("px")):
        ours = metrics[f"{resolution}px"]
        rows.append(
            {
                "resolution": resolution,
                "n": ours["n"],
                "reference_n": (ours.get("reference_n_train"), ours.get("reference_n_val")),
                "fd_train": pair(ours, f"{names['fd']}_train", "std"),
                "fd_val": pair(ours, f"{names['fd']}_val", "std"),
                "kd": pair(ours, f"kd_{name}_val", "se", 1e3),
                "score": pair(ours, names["score"], "std"),
                "precision": pair(ours, f"{names['precision']}_train", "se"),
                "recall": pair(ours, f"{names['recall']}_train", "se"),
                "note": ours.get("note"),
                "paper": TABLE_1A.get(resolution),
            }
        )
    return titles, rows


def metric_notes(rows: list[dict[str, Any]]) -> list[str]:
    """The remarks beside the numbers, each with the sizes that it holds for."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        against = "against {} training and {} validation images".format(*row["reference_n"])
        notes.setdefault("; ".join(filter(None, (row["note"], against))), []).append(str(row["resolution"]))
    return [f"{', '.join(sizes)} px: {note}." for note, sizes in notes.items()]


def training_cost(cards: dict[str, dict[str, Any]], price: float | None) -> dict[str, float]:
    """Device hours of every stage that was trained here, their ``total``, and its ``price`` where an hour has one."""
    hours = {name: card["seconds"] * card["processes"] / 3600 for name, card in cards.items() if "seconds" in card}
    total = sum(hours.values())
    return {**hours, "total": total, **({} if price is None else {"price": total * price})}


def render(
    title: str,
    metrics: dict[str, Any],
    data_card: dict[str, Any],
    sampling: dict[str, Any],
    cards: dict[str, dict[str, Any]],
    curves: dict[str, list[dict[str, float]]],
    grids: dict[str, Path],
    figures: dict[str, Path] | None = None,
    cas: list[dict[str, Any]] | None = None,
    likelihood: dict[str, dict[str, Any]] | None = None,
    price: float | None = None,
    currency: str = "USD",
) -> str:
    """The page.

    Args:
        title: heading.
        metrics: what evaluation returned.
        data_card: what preprocessing recorded.
        sampling: the card of sampling, with ``seconds`` and ``num_samples``.
        cards: model cards by stage.
        curves: training curves by stage.
        grids: sample grids by resolution.
        figures: further PNG files by name, each shown with the caption in its ``Description``.
        cas: rows of the Classification Accuracy Score's table, as ``cas_table`` gives them.
        likelihood: bits per dimension by stage, as ``cascade_bits`` gives them.
        price: of a device hour.
        currency: of the price.

    Returns:
        HTML.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    titles, rows = metric_rows(metrics)
    pictures = [(name, image_uri(path), read_caption(path)) for name, path in (figures or {}).items()]
    return template.render(
        title=title,
        extractor=metrics["extractor"],
        canonical=metrics["extractor"]["name"] == "inception2015",
        memorization=metrics.get("memorization"),
        titles=titles,
        rows=rows,
        notes=metric_notes(rows),
        data=data_card,
        sampling=sampling,
        cards=cards,
        cost=training_cost(cards, price),
        currency=currency,
        curves={name: curve_svg(points) for name, points in curves.items()},
        grids={resolution: image_uri(path) for resolution, path in grids.items()},
        single_images=[picture for picture in pictures if picture[0] in _SINGLE_IMAGES],
        figures=[picture for picture in pictures if picture[0] not in _SINGLE_IMAGES],
        cas=cas,
        likelihood=likelihood,
    )
