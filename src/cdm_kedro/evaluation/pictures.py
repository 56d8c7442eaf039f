"""Figures and pictures of images as PNG files, each with its caption in the file itself, as its ``Description``."""

import base64
import importlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.evaluation.sources import FolderSource, Images, NpzSource, Source
from cdm_kedro.files.atomic import written_whole
from cdm_kedro.sampling.tiles import tile_rows

_COLUMNS = 4
_SMALL, _WIDEST = 1_000_000, 1600  # bytes of a PNG that a page holds as it is; pixels of another picture's width

BLUE = "#2563eb"
LINES = {
    "truncated": ("truncated", BLUE, "o"),
    "non_truncated": ("non-truncated", "#ea580c", "s"),
    "train": ("ground truth, train", "#16a34a", "^"),
    "val": ("ground truth, validation", "#65a30d", "v"),
}
"""Each way of conditioning super-resolution, with the label, colour and marker that every figure gives it."""


def wait_for_ipython() -> None:
    """Wait until IPython is imported if a thread is importing it.

    MLflow's client imports it in its thread, and a new figure of Matplotlib looks into it, whole or not.
    """
    if "IPython" in sys.modules:
        importlib.import_module("IPython")


@contextmanager
def figure(
    path: Path,
    caption: str,
    *,
    panels: int = 1,
    size: tuple[float, float] = (6.4, 4.2),
    dpi: int = 150,
    grid: bool = True,
    x: str = "",
    y: str = "",
) -> Iterator[Any]:
    """Give axes to draw on, or an array of them for several panels, and write them as a PNG after the block.

    ``size``: of the whole figure in inches. ``x`` and ``y``: labels of the axes, where there is one panel.
    """
    from matplotlib.figure import Figure

    wait_for_ipython()
    drawn = Figure(figsize=size, layout="constrained")
    yield drawn.subplots(1, panels)
    if panels == 1:
        drawn.axes[0].set(xlabel=x, ylabel=y)
    for axes in drawn.axes:
        axes.spines[["top", "right"]].set_visible(False)
        if grid:
            axes.grid(alpha=0.25)
    with written_whole(path) as part:
        drawn.savefig(part, format="png", dpi=dpi, metadata={"Software": None, "Description": caption})


def save_png(picture: Any, path: Path, caption: str) -> None:
    """Write a picture with its caption."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_itxt("Description", caption)
    with written_whole(path) as part:
        picture.save(part, format="PNG", pnginfo=info)


def read_caption(path: Path) -> str:
    """The caption that :func:`save_png` or :func:`figure` wrote, else ""."""
    from PIL import Image

    with Image.open(path) as picture:
        return str(picture.info.get("Description", ""))


def draw_rows(rows: Mapping[str, Images], path: Path, caption: str, side: int = 112) -> None:
    """Draw one row of images (N, H, W, 3) a name; sizes may differ."""
    save_png(tile_rows([(name, images, [""] * len(images)) for name, images in rows.items()], side), path, caption)


def draw_side_by_side(
    samples: Path, classes: Mapping[str, int], others: Mapping[str, Path], columns: int, path: Path
) -> None:
    """Draw samples (npz) of classes, each above the pictures in ``<folder>/<class>`` of others, as in Figure 6."""
    source = NpzSource(samples)
    assert source.labels is not None
    rows: dict[str, Images] = {}
    for name, label in classes.items():
        rows[f"{name}: ours"] = source.read(np.flatnonzero(source.labels == label)[:columns].tolist())
        for who, folder in others.items():
            theirs = FolderSource(folder / name, len(source.read([0])[0]))
            rows[f"{name}: {who}"] = theirs.read(range(min(columns, theirs.count)))
    draw_rows(rows, path, "Samples and others' pictures of the same classes.", side=256)


def draw_single_images(
    chosen: Mapping[str, Any], samples: Source, train: Source, numbers: Mapping[str, Any], extractor: str, folder: Path
) -> dict[str, Path]:
    """Draw samples beside their nearest training images, and the samples with the highest and the lowest realism.

    Returns PNG files ``neighbours`` and ``realism``. ``chosen``: arrays of
    :func:`~cdm_kedro.evaluation.evaluate.inspect_single_images`.
    """
    rows: list[tuple[str, Images, Sequence[str]]] = []
    for index, neighbours, distances in zip(chosen["shown"], chosen["neighbours"], chosen["distances"], strict=True):
        images = np.concatenate((samples.read([int(index)]), train.read(neighbours.tolist())))
        rows.append(("", images, ["sample", *(f"{d:.1f}" for d in distances)]))
    caption = (
        f"Samples (left) and their nearest among {numbers['train_images']} training images by distance of {extractor} "
        f"features; the upper half are the nearest of {numbers['samples']} samples. Median distance "
        f"{numbers['median_distance_samples_to_train']:.1f}; of validation images "
        f"{numbers['median_distance_val_to_train']:.1f}. A model that copies training images would come much nearer "
        "than validation images do."
    )
    paths = {name: folder / f"{name}.png" for name in ("neighbours", "realism")}
    save_png(tile_rows(rows), paths["neighbours"], caption)
    rows = []
    for name in ("random", "best", "worst"):
        images = samples.read(chosen[name].tolist())
        texts = [f"{r:.2f}" for r in chosen[f"{name}_realism"]]
        for start in range(0, len(images), _COLUMNS):  # short rows stay readable on a phone
            part = slice(start, start + _COLUMNS)
            rows.append(("" if start else name, images[part], texts[part]))
    caption = (
        "Samples at random, and those with the highest and the lowest realism (Kynkäänniemi et al. 2019): how deep "
        f"they lie in the manifold of training images in {extractor} features; 1 is its edge."
    )
    save_png(tile_rows(rows), paths["realism"], caption)
    return paths


def image_uri(path: Path) -> str:
    """A picture as a data URI: a small PNG as it is, else a JPEG that is not too wide for a page."""
    from PIL import Image

    data, kind = path.read_bytes(), "png"
    if len(data) > _SMALL:
        with Image.open(path) as image:
            picture = image.convert("RGB")
        picture.thumbnail((_WIDEST, picture.height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        data, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
