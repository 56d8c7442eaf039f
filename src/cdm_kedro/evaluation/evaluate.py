"""The metrics of a cascade's samples at every resolution, and a look at single images in feature space."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.collect import Reference, Summary, collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.metrics import nearest, realism
from cdm_kedro.evaluation.reference import read_references
from cdm_kedro.evaluation.scoring import score
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.tracking.live import live

_QUERIES = 1000  # images a side whose nearest training images are looked for
_SHOWN, _NEIGHBOURS = 6, 4
_EXTREMES = 8  # samples at random, and with the highest and the lowest realism


def evaluate_cascade(
    extractor: Extractor,
    params: EvaluateParams,
    reference: Path,
    train_features: Path,
    classes: Sequence[str],
    samples: Mapping[int, Path],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute the metrics of every resolution, and look at single images of the largest.

    Returns metrics, and the arrays of :func:`inspect_single_images`. The metrics are, under ``<resolution>px``, those
    of :func:`~cdm_kedro.evaluation.scoring.score` against ``train`` and ``val``; under ``extractor`` what made the
    features; and under ``memorization`` how near the largest samples come to training images. Raises CdmError if
    another extractor or other weights made the reference. ``train_features``: npy (N, D), of the largest size.
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


def inspect_single_images(
    samples: Summary, train: Reference, val: Reference, train_features: NDArray[np.floating], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find the training images that are nearest to samples, and which samples look most and least real.

    A model that copies has samples that are nearer to training images than validation images are. Returns numbers for
    the metrics file, and arrays for the pictures: ``shown`` (S,) places of samples in their file, the nearest of all
    first, with ``neighbours`` (S, k), the places of their nearest training images, and ``distances`` (S, k) to those;
    ``random``, ``best`` and ``worst`` places of samples with ``<name>_realism``. ``train_features``: (N, D) features of
    all training images that were looked at.
    """
    assert train.features is not None and val.features is not None

    def rows(start: int, stop: int) -> NDArray[np.floating]:
        return np.asarray(train_features[start:stop], np.float32)

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(samples.features))[:_QUERIES])
    held_out = val.features[np.sort(rng.permutation(len(val.features))[:_QUERIES])]
    neighbours, distances = nearest(samples.features[chosen], len(train_features), rows, _NEIGHBOURS)
    _, usual = nearest(held_out, len(train_features), rows, 1)
    closest = np.argsort(distances[:, 0], kind="stable")[: _SHOWN // 2]
    others = np.setdiff1d(np.arange(len(chosen)), closest)
    shown = np.concatenate((closest, np.sort(rng.permutation(others)[: _SHOWN - len(closest)])))
    numbers: dict[str, Any] = {
        "median_distance_samples_to_train": float(np.median(distances[:, 0])),
        "median_distance_val_to_train": float(np.median(usual)),
        "share_of_samples_nearer_than_nearest_val": float((distances[:, 0] < usual.min()).mean()),
        "samples": len(chosen),
        "val_images": len(held_out),
        "train_images": len(train_features),
    }
    arrays: dict[str, Any] = {
        "shown": samples.indices[chosen[shown]],
        "neighbours": neighbours[shown],
        "distances": distances[shown],
    }
    real = realism(train.features, samples.features)
    order = np.argsort(-real, kind="stable")
    at_random = rng.permutation(len(real))[:_EXTREMES]
    for name, part in (("random", at_random), ("best", order[:_EXTREMES]), ("worst", order[::-1][:_EXTREMES])):
        arrays[name], arrays[f"{name}_realism"] = samples.indices[part], real[part]
    return numbers, arrays
