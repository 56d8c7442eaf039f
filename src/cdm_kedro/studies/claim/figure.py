"""The claim's figures: scores against s beside the paper's, and the same noise sampled at every s."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.paper import by_s, published
from cdm_kedro.evaluation.pictures import LINES, figure
from cdm_kedro.params.claim import SINGLE
from cdm_kedro.studies.claim.statements import GENERATED, Scores, interval

_SINGLE = {"color": "#7c3aed", "linestyle": "--", "linewidth": 1.2}
_TABLE_2B = "#b45309"


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
