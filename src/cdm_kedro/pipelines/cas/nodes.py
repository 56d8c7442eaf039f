"""Node of the Classification Accuracy Score: training and testing a classifier."""

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
        from cdm_kedro.studies.cas.generated import samples_to_beton
        from cdm_kedro.tracking.live import live
        from cdm_kedro.tracking.scratch import scratch_dir
        from cdm_kedro.training.classifier.job import ClassifierJob
        from cdm_kedro.training.classifier.launch import launch

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
