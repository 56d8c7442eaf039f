"""The score's table, Figure 5's comparison by class, and Figures 9 and 10's best and worst classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.paper import TABLE_1B
from cdm_kedro.evaluation.pictures import save_png, tile_rows
from cdm_kedro.evaluation.sources import NpzSource

_ROWS, _COLUMNS = 6, 8  # of the grids
_REAL, _GENERATED = "#2563eb", "#dc2626"  # the colours of Figure 5


def cas_table(scores: dict[int, dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows for the report.

    Args:
        scores: resolution to ``real`` and ``generated`` scores.
    """
    return [
        {
            "resolution": resolution,
            "trained_on": kind,
            "images": pair[kind]["train_images"],
            "top1": pair[kind]["top1"],
            "top5": pair[kind]["top5"],
            "validation_images": pair[kind]["validation_images"],
            "network": pair[kind]["network"],
            "paper": TABLE_1B.get(resolution, {}).get(kind),
        }
        for resolution, pair in sorted(scores.items())
        for kind in ("real", "generated")
    ]


def class_accuracies(scores: dict[str, Any]) -> NDArray[np.float64]:
    """(classes,) top-1 accuracy in percent; NaN where there is no validation image."""
    right, images = (np.array(scores["per_class"][key], np.float64) for key in ("top1", "images"))
    return 100 * np.divide(right, images, out=np.full_like(right, np.nan), where=images > 0)


def draw_comparison(real: dict[str, Any], generated: dict[str, Any], path: Path) -> None:
    """Figure 5: accuracy by class of the classifiers trained on real and on generated images.

    Args:
        real: scores of the one.
        generated: scores of the other.
        path: PNG to write.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    a, b = class_accuracies(real), class_accuracies(generated)
    order = np.argsort(a, kind="stable")
    size = 30 if len(a) <= 100 else 4
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.scatter(np.arange(len(a)), a[order], s=size, color=_REAL, label="trained on real images")
    axes.scatter(np.arange(len(a)), b[order], s=size, color=_GENERATED, label="trained on generated images")
    axes.set_xlabel("classes, by the accuracy of the classifier trained on real images")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_ylim(-3, 103)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    better = int((b > a).sum())
    caption = (
        f"Accuracy by class at {real['resolution']} pixels, as in Figure 5. The classifier trained on generated images "
        f"is better on {better} of {len(a)} classes."
    )
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=150, metadata={"Description": caption, "Software": None})
    plt.close(figure)
    part.replace(path)


def draw_classes(scores: dict[str, Any], samples: Path, classes: list[str], paths: dict[str, Path]) -> None:
    """Figures 9 and 10: samples of the classes with the best and the worst accuracy.

    Args:
        scores: of the classifier trained on the samples.
        samples: npz with labels.
        classes: names in index order.
        paths: ``best`` and ``worst`` PNG to write.
    """
    source = NpzSource(samples)
    assert source.labels is not None
    accuracy = class_accuracies(scores)
    order = np.argsort(-accuracy, kind="stable")  # NaN sorts last
    order = order[np.isfinite(accuracy[order])]
    for kind, chosen in (("best", order[:_ROWS]), ("worst", order[::-1][:_ROWS])):
        tiles = []
        for label in chosen.tolist():
            images = source.read(np.flatnonzero(source.labels == label)[:_COLUMNS].tolist())
            tiles.append((f"{classes[label]}, {accuracy[label]:.0f} %", images, [""] * len(images)))
        caption = (
            f"Samples of the classes with the {kind} accuracy of the classifier trained on generated images, as in "
            f"Figure {9 if kind == 'best' else 10}."
        )
        save_png(tile_rows(tiles), paths[kind], caption)
