"""Trains and tests a classifier in processes of its own. It imports no torch."""

from collections.abc import Callable
from typing import Any

from cdm_kedro.processes.training import run_worker
from cdm_kedro.training.classifier.job import ClassifierJob

RUNS_MODULES = ("cdm_kedro.training.classifier.worker",)
"""Modules that this one starts as processes."""

_FACTS = ("device", "processes", "seconds", "steps_this_run", "parameters")


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
