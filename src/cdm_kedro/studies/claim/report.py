"""The claim's results: the table beside the paper's, the tested statements, the figures and the page."""

from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.data.beton import check_beton, read_labels
from cdm_kedro.evaluation.metrics import metric_names
from cdm_kedro.evaluation.paper import beside, by_s, published
from cdm_kedro.evaluation.pictures import LINES, draw_rows, figure, image_uri, read_caption
from cdm_kedro.evaluation.reference import read_extractor, read_references
from cdm_kedro.evaluation.sources import BetonSource
from cdm_kedro.evaluation.statistics import frechet_distance
from cdm_kedro.files.table import Row, to_csv
from cdm_kedro.files.templates import fill_template
from cdm_kedro.params.claim import SINGLE, ClaimSweepParams
from cdm_kedro.studies.claim.statements import GENERATED, Scores, assess, combine, interval, rank_agreement

_SINGLE = {"color": "#7c3aed", "linestyle": "--", "linewidth": 1.2}
_TABLE_2B = "#b45309"
ORDER = ("none", "truncated", "non_truncated", "train", "val", SINGLE)


def report(
    params: ClaimSweepParams,
    rows: Sequence[Row],
    references: Sequence[Path],
    real: Path,
    pictures: Path,
    facts: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Make everything that the claim shows.

    Returns ``table`` (CSV), ``statements`` (JSON), ``figure`` and ``pictures`` (PNG), ``page`` (HTML). ``facts``:
    ``budget``, model ``cards``, ``classifier`` scores and what extractors ``noticed``, for the page.
    """
    resolution = check_beton(real).resolution
    read = {read_extractor(path): read_references(path, resolution) for path in references}
    names = {name: metric_names(name) for name in read}
    columns = {name: (f"{own['fd']}_train", own["score"]) for name, own in names.items()}
    floors = {name: frechet_distance(own["val"].moments, own["train"].moments) for name, own in read.items()}
    told = {name: {"score": floors[name], "n": own["val"].moments.n} for name, own in read.items()}
    scores = {name: Scores(rows, fd) for name, (fd, _) in columns.items()}
    statements = combine({name: assess(own) for name, own in scores.items()})
    agreement = rank_agreement(*scores.values())
    table = average(rows, [*chain(*columns.values()), *(f"{own['fd']}_val" for own in names.values())])

    seeds, n = sorted({row["seed"] for row in rows}), rows[0]["n"]
    curves, grid = folder / "claim.png", folder / "pictures.png"
    held = ", ".join(f"({statement['key']}) {statement['verdict']}" for statement in statements)
    caption = (
        f"Fréchet distance against s by two extractors, {n} samples a point and seed, bands: 95 % over {len(seeds)} "
        f"seeds; right, the paper's FID at the same s. The paper's statements: {held}."
    )
    draw_curves(scores, floors, caption, curves)
    with np.load(pictures, allow_pickle=False) as arrays:
        shown = dict(arrays)
    inputs = {"input": shown["low"], "s = 0": shown["none_s0"]}
    noised = {f"s = {s}": shown[f"non_truncated_s{s}"] for s in sorted(params.s) if s > 0}
    source = BetonSource(real)
    _, one_a_class = np.unique(read_labels(real), return_index=True)
    others = {"single model": shown["single"], "real": source.read(one_a_class[: len(shown["low"])].tolist())}
    caption = (
        "The low-resolution model's samples, and what the super-resolution model makes of each at every s "
        "(non-truncated) from the same noise; the single model's samples; validation images."
    )
    draw_rows({**inputs, **noised, **others}, grid, caption, side=88)
    sides = {"resolution": resolution, "low_resolution": len(shown["low"][0])}
    page = fill_template(
        Path(__file__).with_name("report.html.j2"),
        statements=statements,
        table=table,
        metrics=columns,
        agreement=agreement,
        facts={**facts, **sides, "n": n, "seeds": seeds, "floors": told},
        pictures=[(image_uri(path), read_caption(path)) for path in (curves, grid)],
    )
    said = {"statements": statements, "agreement": agreement, "floors": told, "seeds": seeds}
    return {"table": to_csv(table), "statements": said, "figure": curves, "pictures": grid, "page": page}


def paper_columns(conditioning: str, s: int) -> Row:
    """The paper's numbers for a point at the same s of 4000 steps, as far as it has them.

    Table 3 is of 32 to 64 pixels with one model for all s. Table 2 is of 16 to 64 pixels with one model for each s
    (non-truncated); its single model is the better row of Table 2a.
    """
    three = beside("table3", f"{conditioning}_s{s}")
    row = {SINGLE: "single_more_steps", "none": f"s{s}", "non_truncated": f"s{s}"}.get(conditioning, "")
    numbers = {key.replace("paper", "paper_table3"): value for key, value in three.items()}
    two = beside("table2", row).get("paper_fid_train")
    return numbers | ({} if two is None else {"paper_table2_fid_train": two})


def average(rows: Sequence[Row], metrics: Sequence[str]) -> list[Row]:
    """Average the seeds of every point.

    Returns one row a point with the mean of every metric over the seeds and, if there are several seeds,
    ``<metric>_ci95``, half the width of its interval. ``rows``: of all seeds, with ``seed``, ``conditioning``, ``s``,
    ``n`` and the metrics.
    """

    def point(row: Row) -> tuple[int, int]:
        return ORDER.index(row["conditioning"]), int(row.get("s") or 0)

    out = []
    for (number, s), group in groupby(sorted(rows, key=point), point):
        own = list(group)
        made: Row = {"conditioning": ORDER[number], "s": s, "seeds": len(own), "n_per_seed": own[0]["n"]}
        for metric in metrics:
            values = [float(row[metric]) for row in own if metric in row]
            if values:
                made[metric] = float(np.mean(values))
            if len(values) > 1:
                found = interval(values)
                made[f"{metric}_ci95"] = found.high - found.mean
        out.append({**made, **paper_columns(ORDER[number], s)})
    return out


def _line(axes: Any, mode: str, levels: Sequence[int], values: Sequence[float], prefix: str = "") -> str:
    label, colour, marker = LINES[mode]
    axes.plot(levels, values, color=colour, marker=marker, markersize=4, linewidth=1.5, label=prefix + label)
    return colour


def _draw_ours(axes: Any, scores: Scores, floor: float) -> None:
    several = len(scores.seeds) > 1
    for mode in LINES:
        levels, values = scores.curve(mode)
        if levels:
            found = [interval(row) for row in values]
            colour = _line(axes, mode, levels, [f.mean for f in found])
            if several:
                lows, highs = [f.low for f in found], [f.high for f in found]
                axes.fill_between(levels, lows, highs, color=colour, alpha=0.18, linewidth=0)
    if (SINGLE, 0) in scores.points:
        single = interval(scores.points[SINGLE, 0])
        axes.axhline(single.mean, label="single model, same compute", **_SINGLE)
        if several:
            axes.axhspan(single.low, single.high, color=_SINGLE["color"], alpha=0.12, linewidth=0)
    axes.axhline(floor, color="#6b7280", linestyle=":", linewidth=1, label="real validation images")
    axes.set_ylabel("Fréchet distance to training images (lower is better)")


def _draw_published(axes: Any) -> None:
    for mode in LINES:
        rows = {**(by_s("table3", "none_s") if mode in GENERATED else {}), **by_s("table3", f"{mode}_s")}
        levels = sorted(rows)
        _line(axes, mode, levels, [rows[s].fid_train for s in levels], "Table 3, ")
    table2, style = by_s("table2", "s"), {"color": _TABLE_2B, "marker": "D", "markersize": 4}
    axes.plot([*table2], [row.fid_train for row in table2.values()], ":", label="Table 2b, 16 to 64", **style)
    axes.axhline(published()["table2"]["single_more_steps"].fid_train, label="Table 2b, single model", **_SINGLE)
    axes.set_ylabel("FID to training images")


def draw_curves(scores: Mapping[str, Scores], floors: Mapping[str, float], caption: str, path: Path) -> None:
    """Draw scores against s, one panel an extractor, with bands of 95 % over seeds, and the paper's FID beside."""
    panels = len(scores) + 1
    with figure(path, caption, panels=panels, size=(4.9 * panels, 4.3), dpi=130) as all_axes:
        for axes, (title, own) in zip(all_axes, scores.items(), strict=False):
            _draw_ours(axes, own, floors[title])
        _draw_published(all_axes[-1])
        for axes, title in zip(all_axes, [*scores, "the paper: ImageNet 64 x 64"], strict=True):
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("s, in steps of the low stage's forward process")
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False, fontsize=7)
