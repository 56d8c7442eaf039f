"""The common frame of the figures that matplotlib draws, and the lines of the ways of conditioning."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cdm_kedro.files.atomic import written_whole

BLUE = "#2563eb"
LINES = {
    "truncated": ("truncated", BLUE, "o"),
    "non_truncated": ("non-truncated", "#ea580c", "s"),
    "train": ("ground truth, train", "#16a34a", "^"),
    "val": ("ground truth, validation", "#65a30d", "v"),
}
"""Each way of conditioning super-resolution, with the label, colour and marker that every figure gives it."""


@contextmanager
def figure(
    path: Path,
    caption: str,
    *,
    panels: int = 1,
    size: tuple[float, float] = (6.4, 4.2),
    dpi: int = 150,
    grid: bool = True,
) -> Iterator[Any]:
    """Give axes to draw on, and write them as a PNG after the block.

    Args:
        caption: stored in the file as its ``Description``, where the report finds it.
        size: width and height of the whole figure in inches.
        dpi: pixels an inch.

    Yields:
        The axes, or an array of them where there are several panels.
    """
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, layout="constrained")
    yield drawn.subplots(1, panels)
    for axes in drawn.axes:
        axes.spines[["top", "right"]].set_visible(False)
        if grid:
            axes.grid(alpha=0.25)
    with written_whole(path) as part:
        drawn.savefig(part, format="png", dpi=dpi, metadata={"Software": None, "Description": caption})
