"""The table of the classification accuracy score, and the pictures of Figures 5, 9 and 10."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.paper import TABLE_1B
from cdm_kedro.evaluation.pictures import BLUE, draw_rows, figure
from cdm_kedro.evaluation.sources import NpzSource

_ROWS, _COLUMNS = 6, 8  # classes and samples of each in Figures 9 and 10
_RED = "#dc2626"  # Figure 5: real images blue, generated ones red


def cas_table(scores: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The table's rows, with the paper's accuracies beside.

    ``scores``: resolution to the scores of the classifiers trained on ``real`` and on ``generated`` images.
    """
    kept = ("top1", "top5", "validation_images", "network")
    rows = []
    for resolution, kind in product(sorted(scores), ("real", "generated")):
        own, paper = scores[resolution][kind], TABLE_1B.get(resolution, {}).get(kind)
        told = {"resolution": resolution, "trained_on": kind, "images": own["train_images"]}
        rows.append({**told, **{key: own[key] for key in kept}, "paper": paper})
    return rows


def class_accuracies(scores: Mapping[str, Any]) -> NDArray[np.float64]:
    """Top-1 accuracy (classes,) in percent; NaN for a class without validation images."""
    right, images = (np.array(scores["per_class"][key], np.float64) for key in ("top1", "images"))
    return 100 * np.divide(right, images, out=np.full_like(right, np.nan), where=images > 0)


def draw_comparison(real: Mapping[str, Any], generated: Mapping[str, Any], path: Path) -> None:
    """Draw Figure 5: accuracy by class of the classifiers trained on real and on generated images."""
    a, b = class_accuracies(real), class_accuracies(generated)
    order = np.argsort(a, kind="stable")
    size = 30 if len(a) <= 100 else 4
    caption = (
        f"Accuracy by class at {real['resolution']} pixels, as in Figure 5. The classifier trained on generated images "
        f"is better on {int((b > a).sum())} of {len(a)} classes."
    )
    x, y = "classes, by the accuracy of the classifier trained on real images", "top-1 accuracy (%)"
    with figure(path, caption, size=(7, 4), grid=False, x=x, y=y) as axes:
        for accuracy, colour, kind in ((a, BLUE, "real"), (b, _RED, "generated")):
            axes.scatter(np.arange(len(a)), accuracy[order], s=size, color=colour, label=f"trained on {kind} images")
        axes.set_ylim(-3, 103)
        axes.legend(frameon=False)


def draw_classes(scores: Mapping[str, Any], samples: Path, classes: Sequence[str], paths: Mapping[str, Path]) -> None:
    """Draw Figures 9 and 10: samples of the classes with the best and the worst relative accuracy.

    Relative is the accuracy of the classifier trained on generated images minus that of the one trained on real images.
    """
    source, accuracy = NpzSource(samples), class_accuracies(scores["generated"])
    assert source.labels is not None
    relative = accuracy - class_accuracies(scores["real"])
    order = np.argsort(-relative, kind="stable")  # NaN sorts last
    order = order[np.isfinite(relative[order])]
    for kind, number, chosen in (("best", 9, order[:_ROWS]), ("worst", 10, order[::-1][:_ROWS])):
        rows = {
            f"{classes[c]}, {accuracy[c]:.0f} % ({relative[c]:+.0f})": source.read(
                np.flatnonzero(source.labels == c)[:_COLUMNS].tolist()
            )
            for c in chosen.tolist()
        }
        caption = (
            f"Samples of the classes with the {kind} relative accuracy, as in Figure {number}: that of the classifier "
            "trained on generated images, and in brackets by how much it is above the one trained on real images."
        )
        draw_rows(rows, paths[kind], caption)
