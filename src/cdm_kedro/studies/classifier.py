"""A study's classifier: trained in a process of its own, with its progress in the stage's run."""

from pathlib import Path
from typing import Any

from cdm_kedro.data.beton import check_beton
from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.tracking.live import live
from cdm_kedro.tracking.scratch import scratch_dir
from cdm_kedro.training.classifier.job import ClassifierJob
from cdm_kedro.training.classifier.launch import launch


def train_classifier(
    stage: str,
    params: ClassifierParams,
    images: Path,
    validation: Path,
    num_classes: int,
    origin: Path | None = None,
    weights: Path | None = None,
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Train a ResNet on images and test it on others.

    Returns scores (top-1 and top-5 accuracy in percent, counts by class) and the training curve. ``origin``: file that
    ``images`` was made from; a change of it starts the training anew. ``weights``: safetensors file to write the
    network to; None keeps its scores alone.
    """
    beton, stat, run = check_beton(images), (origin or images).stat(), live()
    job = ClassifierJob(
        name=stage,
        params=params,
        resolution=beton.resolution,
        num_classes=num_classes,
        beton=str(images),
        validation=str(validation),
        workdir=str(scratch_dir(stage)),
        data={"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns},
        weights=None if weights is None else str(weights),
    )

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "log":
            run.log_metrics(event["metrics"], step=event["step"])

    scores, curve = launch(job, beton.num_samples, on_event)
    run.log_metrics({"top1": scores["top1"], "top5": scores["top5"]}, step=params.steps)
    return scores, curve
