"""The metrics of a cascade's samples at every resolution."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.collect import collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.reference import read_references
from cdm_kedro.evaluation.scoring import score
from cdm_kedro.evaluation.single_images import inspect_single_images
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.tracking.live import live


def evaluate_cascade(
    extractor: Extractor,
    params: EvaluateParams,
    reference: Path,
    train_features: Path,
    classes: Sequence[str],
    samples: Mapping[int, Path],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute the metrics of every resolution, and look at single images of the largest.

    Returns metrics, and the arrays of :func:`~cdm_kedro.evaluation.single_images.inspect_single_images`. The metrics
    are, under ``<resolution>px``, those of :func:`~cdm_kedro.evaluation.scoring.score` against ``train`` and ``val``;
    under ``extractor`` what made the features; and under ``memorization`` how near the largest samples come to training
    images. Raises StatisticsError if another extractor or other weights made the reference. ``train_features``: npy (N,
    D), the features of all training images at the largest size.
    """
    metrics: dict[str, Any] = {"extractor": extractor.describe()}
    chosen: dict[str, Any] = {}
    for resolution, path in samples.items():
        references = read_references(reference, resolution, extractor)
        source, started = NpzSource(path), time.monotonic()
        summary = collect(source, extractor, params, f"score {resolution}")
        live().log_metrics({f"images_per_second_{resolution}": summary.n / (time.monotonic() - started)}, step=0)
        scores = score(summary, references, extractor.name)
        remarks = [scores.pop("note", None), absent_classes(source.labels, len(classes))]
        if any(remarks):
            scores["note"] = ". ".join(filter(None, remarks))
        metrics[f"{resolution}px"] = scores
        if resolution == max(samples):
            features = np.load(train_features, mmap_mode="r")
            metrics["memorization"], chosen = inspect_single_images(
                summary, references["train"], references["val"], features, params.seed
            )
    return metrics, chosen


def absent_classes(labels: NDArray[np.integer] | None, num_classes: int) -> str | None:
    """A remark if some classes have no sample, else None."""
    missing = [] if labels is None else sorted(set(range(num_classes)) - set(np.unique(labels).tolist()))
    if not missing:
        return None
    return f"{len(missing)} of {num_classes} classes have no sample (class {', '.join(map(str, missing[:5]))}…)"
