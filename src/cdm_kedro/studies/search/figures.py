"""Figures of the searches: score against s, against the number of steps, and by schedule."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.pictures import BLUE, LINES, figure
from cdm_kedro.files.table import Row

_REPORT = "#ea580c"


def _axes(path: Path, metric: str, label: str) -> AbstractContextManager[Any]:
    return figure(path, f"{metric} by {label}", x=label, y=f"{metric} (lower is better)")


def _points(axes: Any, x: list[Any], rows: list[Row], metric: str, **style: Any) -> None:
    errors = [float(row.get(f"{metric}_std", 0.0)) for row in rows]
    axes.errorbar(x, [row[metric] for row in rows], errors, capsize=3, **style)


def _line(axes: Any, rows: list[Row], x: str, metric: str, **style: Any) -> None:
    rows = sorted(rows, key=lambda row: float(row[x]))
    if rows:
        _points(axes, [row[x] for row in rows], rows, metric, linewidth=1.5, **style)


def draw_truncation(rows: list[Row], metric: str, path: Path) -> None:
    """Draw the metric against s for every way of conditioning (Tables 3a and 3b)."""
    with _axes(path, metric, "s, conditioning augmentation in steps of the low model's forward process") as axes:
        none = [row for row in rows if row["conditioning"] == "none"]
        for mode, (label, colour, marker) in LINES.items():
            own = [row for row in rows if row["conditioning"] == mode]
            if own and mode in ("truncated", "non_truncated"):
                own = none + own
            _line(axes, own, "s", metric, label=label, color=colour, marker=marker)
        axes.legend(frameon=False)


def draw_steps(rows: list[Row], metric: str, path: Path) -> None:
    """Draw the metric of the best schedule for each number of reverse steps, on a logarithmic axis (Figure 8)."""
    best = {row["steps"]: row for row in sorted(rows, key=lambda row: -float(row[metric]))}
    with _axes(path, metric, "reverse steps (log)") as axes:
        _line(axes, list(best.values()), "steps", metric, color=BLUE, marker="o", label="in the search")
        reported = [row for row in rows if f"report_{metric}" in row]
        _line(axes, reported, "steps", f"report_{metric}", color=_REPORT, marker="s", label="on more samples")
        axes.set_xscale("log")
        axes.set_xticks(sorted(best), [str(steps) for steps in sorted(best)])
        axes.minorticks_off()
        axes.legend(frameon=False)


def draw_schedules(rows: list[Row], metric: str, path: Path) -> None:
    """Draw the metric of every inference schedule, the best first."""
    with _axes(path, metric, "schedule") as axes:
        ordered = sorted(rows, key=lambda row: float(row[metric]))
        keys = ("beta_start", "beta_end")
        names = [" ".join([r["schedule"], *(f"{key} {r[key]:g}" for key in keys if key in r)]) for r in ordered]
        _points(axes, list(range(len(ordered))), ordered, metric, fmt="o", color=BLUE)
        axes.set_xticks(range(len(ordered)), names, rotation=45, ha="right")


FIGURES: dict[str, Callable[[list[Row], str, Path], None]] = {
    "search_truncation": draw_truncation,
    "search_steps": draw_steps,
    "search_schedule": draw_schedules,
}
"""Each search and the function ``(rows, metric, path)`` that draws it; standard errors are drawn where rows hold them.
"""
