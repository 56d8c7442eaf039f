"""Single images in feature space: does the model copy training images, and which samples look most and least real?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.measure import Summary
from cdm_kedro.evaluation.metrics import nearest, realism
from cdm_kedro.evaluation.reference import Reference

_QUERIES = 1000
_SHOWN, _NEIGHBOURS = 6, 4
_EXTREMES = 8


def judge_single_images(
    summary: Summary, train: Reference, val: Reference, train_features: NDArray[np.floating], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Nearest training images of samples, and the samples' realism.

    A model that copies has samples nearer to training images than validation images are.

    Args:
        summary: of the samples.
        train: statistics of training images, with features.
        val: the same of validation images.
        train_features: (N, D), of every training image that was measured.
        seed: which samples are asked about.

    Returns:
        Numbers for the metrics file, and arrays for the pictures: ``shown`` (S,) places of samples in their file with
        their ``neighbours`` (S, k) places in the training file and ``distances`` (S, k), nearest ones of all first;
        ``random``, ``best`` and ``worst`` places of samples with ``<name>_realism``.
    """
    assert train.features is not None and val.features is not None

    def rows(start: int, stop: int) -> NDArray[np.floating]:
        return np.asarray(train_features[start:stop], np.float32)

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(summary.features))[:_QUERIES])
    held_out = val.features[np.sort(rng.permutation(len(val.features))[:_QUERIES])]
    neighbours, distances = nearest(summary.features[chosen], len(train_features), rows, _NEIGHBOURS)
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
        "shown": summary.indices[chosen[shown]],
        "neighbours": neighbours[shown],
        "distances": distances[shown],
    }
    scores = realism(train.features, summary.features)
    order = np.argsort(-scores, kind="stable")
    at_random = rng.permutation(len(scores))[:_EXTREMES]
    for name, part in (("random", at_random), ("best", order[:_EXTREMES]), ("worst", order[::-1][:_EXTREMES])):
        arrays[name], arrays[f"{name}_realism"] = summary.indices[part], scores[part]
    return numbers, arrays
