"""The claim's figures: scores against s beside the paper's, and the same noise sampled at every s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdm_kedro.evaluation.figures import LINES
from cdm_kedro.evaluation.paper_ablations import TABLE_2A, TABLE_2B, TABLE_3
from cdm_kedro.evaluation.pictures import save_png, tile_rows
from cdm_kedro.evaluation.sources import Images
from cdm_kedro.params.claim import SINGLE
from cdm_kedro.studies.claim.statements import Scores

_SINGLE = ("single model, same compute", "#7c3aed")
_PAPER_2B = "#b45309"


def _curve(axes: Any, scores: Scores, mode: str) -> None:
    levels, values = scores.curve(mode)
    if not levels:
        return
    label, colour, marker = LINES[mode]
    found = [scores.interval(row) for row in values]
    axes.plot(levels, [f.mean for f in found], color=colour, marker=marker, markersize=4, linewidth=1.5, label=label)
    if len(scores.seeds) > 1:
        lows, highs = [f.low for f in found], [f.high for f in found]
        axes.fill_between(levels, lows, highs, color=colour, alpha=0.18, linewidth=0)


def _paper(axes: Any) -> None:
    for mode, (label, colour, marker) in LINES.items():
        published = dict(TABLE_3[mode])
        if mode in ("truncated", "non_truncated"):
            published = {**TABLE_3["none"], **published}
        levels = sorted(published)
        fids = [published[s][0] for s in levels]
        axes.plot(levels, fids, color=colour, marker=marker, markersize=4, linewidth=1.5, label=f"Table 3, {label}")
    levels = sorted(TABLE_2B)
    fids = [TABLE_2B[s][0] for s in levels]
    axes.plot(levels, fids, ":", color=_PAPER_2B, marker="D", markersize=4, label="Table 2b, 16 to 64")
    axes.axhline(
        TABLE_2A["more sampling steps"][0],
        color=_SINGLE[1],
        linestyle="--",
        linewidth=1.2,
        label="Table 2b, single model",
    )


def draw_curves(panels: Mapping[str, Scores], floors: Mapping[str, float], caption: str, path: Path) -> None:
    """Scores against s with bands of 95 % over seeds, a panel a metric, and the paper's FID.

    Args:
        panels: title to scores.
        floors: title to the score of real validation images.
        caption: stored in the file.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(1, len(panels) + 1, figsize=(4.9 * (len(panels) + 1), 4.3), layout="constrained")
    for axes, (title, scores) in zip(all_axes, panels.items(), strict=False):
        for mode in LINES:
            _curve(axes, scores, mode)
        if (SINGLE, 0) in scores.points:
            found = scores.interval(scores.points[SINGLE, 0])
            axes.axhline(found.mean, color=_SINGLE[1], linestyle="--", linewidth=1.2, label=_SINGLE[0])
            if len(scores.seeds) > 1:
                axes.axhspan(found.low, found.high, color=_SINGLE[1], alpha=0.12, linewidth=0)
        axes.axhline(floors[title], color="#6b7280", linestyle=":", linewidth=1, label="real validation images")
        axes.set_title(title, fontsize=10)
        axes.set_ylabel("Fréchet distance to training images (lower is better)")
    _paper(all_axes[-1])
    all_axes[-1].set_title("the paper: ImageNet 64 x 64", fontsize=10)
    all_axes[-1].set_ylabel("FID to training images")
    for axes in all_axes:
        axes.set_xlabel("s, in steps of the low stage's forward process")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=130, metadata={"Software": None, "Description": caption})
    plt.close(figure)
    part.replace(path)


def draw_pictures(rows: Sequence[tuple[str, Images]], caption: str, path: Path) -> None:
    """Samples of the same noise, a row a setting.

    Args:
        rows: name and (N, H, W, 3) images of each row; sizes may differ.
        caption: stored in the file.
        path: PNG to write.
    """
    save_png(tile_rows([(name, images, [""] * len(images)) for name, images in rows], side=88), path, caption)
