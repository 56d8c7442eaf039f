"""Trains and tests a classifier in processes of its own. It imports no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from cdm_kedro.data.beton import check_beton
from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.processes.training import run_worker
from cdm_kedro.tracking.live import live
from cdm_kedro.tracking.scratch import scratch_dir
from cdm_kedro.training.job import Job

RUNS_MODULES = ("cdm_kedro.training.classifier.worker",)

_FACTS = ("device", "processes", "seconds", "steps_this_run", "parameters")


class ClassifierJob(Job):
    """One classifier to train, and to test on the FFCV file ``validation``, on images of ``resolution`` pixels."""

    params: ClassifierParams
    resolution: int
    validation: str
    weights: str | None = None  # the file for the network; None if only its scores are wanted
    no_identity: ClassVar[dict[str, Any]] = {
        "validation": True,
        "weights": True,
        "params": {"compile", "devices", "log_every", "checkpoint_seconds"},
    }


def launch(
    job: ClassifierJob, train_images: int, on_event: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Train and test, showing a progress bar.

    Returns scores (``top1``, ``top5`` in percent, ``per_class`` counts) and the training curve.
    """
    done = run_worker(RUNS_MODULES[0], job, on_event)
    counts = done["counts"]
    total = sum(counts["images"])
    scores = {
        "resolution": job.resolution,
        "network": f"ResNet-{job.params.depth}",
        "train_images": train_images,
        "validation_images": total,
        "top1": 100 * sum(counts["top1"]) / total,
        "top5": 100 * sum(counts["top5"]) / total,
        "per_class": counts,
        **{key: done["facts"][key] for key in _FACTS},
    }
    return scores, done["curve"]


def train_classifier(
    stage: str,
    params: ClassifierParams,
    images: Path,
    validation: Path,
    num_classes: int,
    origin: Path | None = None,
    weights: Path | None = None,
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Train a ResNet on an FFCV file and test it on another, with its progress in the stage's run.

    Returns what :func:`launch` does. ``origin``: file that ``images`` was made from; a change of it starts the training
    anew. ``weights``: safetensors file to write the network to; None keeps its scores alone.
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
    scores, curve = launch(job, beton.num_samples, run.log_event)
    run.log_metrics({"top1": scores["top1"], "top5": scores["top5"]}, step=params.steps)
    return scores, curve
