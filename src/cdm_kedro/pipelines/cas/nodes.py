"""Nodes of the Classification Accuracy Score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.cas import CasParams


def make_classify(kind: str, resolution: int) -> Callable[..., dict[str, Any]]:
    """The node that trains a classifier on ``real`` or ``generated`` images of a resolution."""

    def classify(images: Path, validation: Path, classes: list[str], params: CasParams) -> dict[str, Any]:
        """Train a ResNet on the images and test it on real validation images.

        Args:
            images: FFCV file of real training images, or npz of samples with labels.
            validation: FFCV file of real validation images.
            classes: class names in index order.
            params: network and recipe.

        Returns:
            ``scores`` (top-1, top-5 in percent, counts by class) and ``curve``.
        """
        from cdm_kedro.data.beton import check_beton
        from cdm_kedro.evaluation.cas.generated import samples_to_beton
        from cdm_kedro.evaluation.cas.job import ClassifierJob
        from cdm_kedro.evaluation.cas.launch import launch
        from cdm_kedro.provenance.scratch import scratch_dir
        from cdm_kedro.provenance.tracking import live

        name = f"cas_{kind}_{resolution}"
        folder, beton, stat = scratch_dir(name), Path(images), Path(images).stat()
        if kind == "generated":
            beton = folder / f"generated_{stat.st_mtime_ns}.beton"
            samples_to_beton(images, beton, classes)
        run = live()
        job = ClassifierJob(
            name=name,
            params=params,
            resolution=resolution,
            num_classes=len(classes),
            beton=str(beton),
            validation=str(validation),
            workdir=str(folder),
            data={"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns},
        )

        def on_event(event: dict[str, Any]) -> None:
            if event["event"] == "log":
                run.log_metrics(event["metrics"], step=event["step"])

        scores, curve = launch(job, check_beton(beton).num_samples, on_event)
        run.log_metrics({"top1": scores["top1"], "top5": scores["top5"]}, step=params.steps)
        return {"scores": scores, "curve": curve}

    return classify


def compare(params: CasParams, classes: list[str], **parts: Any) -> dict[str, Any]:
    """Table and pictures of all resolutions.

    Args:
        params: sizes of the grids.
        classes: class names in index order.
        parts: for each resolution ``real_<resolution>`` and ``generated_<resolution>`` scores and
            ``samples_<resolution>`` (npz path).

    Returns:
        ``table``, and for each resolution PNG paths ``comparison_<resolution>``, ``best_<resolution>`` and
        ``worst_<resolution>``.
    """
    from cdm_kedro.evaluation.cas.results import cas_table, draw_classes, draw_comparison
    from cdm_kedro.provenance.scratch import scratch_dir

    folder = scratch_dir("cas_report")
    sizes = [int(key.removeprefix("real_")) for key in parts if key.startswith("real_")]
    scores = {size: {kind: parts[f"{kind}_{size}"] for kind in ("real", "generated")} for size in sizes}
    out: dict[str, Any] = {"table": cas_table(scores)}
    for size, pair in scores.items():
        paths = {kind: folder / f"{kind}_{size}.png" for kind in ("comparison", "best", "worst")}
        draw_comparison(pair["real"], pair["generated"], paths["comparison"])
        draw_classes(
            pair["generated"], parts[f"samples_{size}"], classes, params.shown_classes, params.grid_columns, paths
        )
        out |= {f"{kind}_{size}": path for kind, path in paths.items()}
    return out
