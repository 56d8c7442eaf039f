"""Figures of the searches: score against s, against the number of steps, and of schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]
LINES = {
    "truncated": ("truncated", "#2563eb", "o"),
    "non_truncated": ("non-truncated", "#ea580c", "s"),
    "train": ("ground truth, train", "#16a34a", "^"),
    "val": ("ground truth, validation", "#65a30d", "v"),
}
"""Ways of conditioning to the label, colour and marker that every figure gives them."""


@contextmanager
def _axes(path: Path, metric: str, label: str) -> Iterator[Any]:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    yield axes
    axes.set_xlabel(label)
    axes.set_ylabel(f"{metric} (lower is better)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=150, metadata={"Software": None, "Description": f"{metric} by {label}"})
    plt.close(figure)
    part.replace(path)


def _line(axes: Any, rows: list[Row], x: str, metric: str, **style: Any) -> None:
    rows = sorted(rows, key=lambda row: float(row[x]))
    if rows:
        errors = [float(row.get(f"{metric}_std", 0.0)) for row in rows]
        axes.errorbar(
            [row[x] for row in rows], [row[metric] for row in rows], errors, linewidth=1.5, capsize=3, **style
        )


def draw_truncation(rows: list[Row], metric: str, path: Path) -> None:
    """Metric against s for every way of conditioning (Tables 3a and 3b), with a standard error where there is one."""
    with _axes(path, metric, "s, conditioning augmentation in steps of the low stage's forward process") as axes:
        none = [row for row in rows if row["conditioning"] == "none"]
        for mode, (label, colour, marker) in LINES.items():
            own = [row for row in rows if row["conditioning"] == mode]
            if own and mode in ("truncated", "non_truncated"):
                own = none + own
            _line(axes, own, "s", metric, label=label, color=colour, marker=marker)
        axes.legend(frameon=False)


def draw_steps(rows: list[Row], metric: str, path: Path) -> None:
    """Metric against the number of steps on a logarithmic axis (Figure 8)."""
    with _axes(path, metric, "reverse steps (log)") as axes:
        _line(axes, rows, "steps", metric, color="#2563eb", marker="o")
        axes.set_xscale("log")
        ticks = sorted(row["steps"] for row in rows)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()


def draw_schedules(rows: list[Row], metric: str, path: Path) -> None:
    """Metric of every schedule, best first."""
    with _axes(path, metric, "schedule") as axes:
        ordered = sorted(rows, key=lambda row: float(row[metric]))
        names = [
            f"{r['schedule']} {r['beta_start']:g}…{r['beta_end']:g}" if "beta_end" in r else r["schedule"]
            for r in ordered
        ]
        errors = [float(row.get(f"{metric}_std", 0.0)) for row in ordered]
        axes.errorbar(range(len(ordered)), [r[metric] for r in ordered], errors, fmt="o", color="#2563eb", capsize=3)
        axes.set_xticks(range(len(ordered)), names, rotation=45, ha="right")


FIGURES: dict[str, Callable[[list[Row], str, Path], None]] = {
    "search_truncation": draw_truncation,
    "search_steps": draw_steps,
    "search_schedule": draw_schedules,
}
