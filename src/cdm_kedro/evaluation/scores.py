"""All scores of one set of samples against stored reference statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.evaluation.metrics import classifier_score, kernel_distance, precision_recall
from cdm_kedro.evaluation.statistics import Moments, frechet_distance, frechet_distance_of_features, moments
from cdm_kedro.params.evaluation import EvaluateParams

PUBLISHED_N = 50_000
_SPREAD_SPLITS = 4


def _frechet(features: NDArray[np.float32], stored: dict[str, Any], name: str) -> float:
    if f"{name}/sigma" in stored:
        real = Moments(stored[f"{name}/mu"], stored[f"{name}/sigma"], int(stored[f"{name}/n"]))
        return frechet_distance(moments(features), real)
    return frechet_distance_of_features(features, stored[f"{name}/features"])


def score_features(
    features: NDArray[np.float32],
    logits: NDArray[np.float32],
    stored: dict[str, Any],
    resolution: str,
    extractor: str,
    params: EvaluateParams,
) -> dict[str, Any]:
    """Scores of one resolution.

    Args:
        features: (N, D) of the samples.
        logits: (N, classes) of the samples.
        stored: arrays of the reference file.
        resolution: as in the reference's names.
        extractor: name, for the metrics' names.
        params: splits and seed.

    Returns:
        Metric names to values; ``_std`` is over splits of the samples, ``_se`` a standard error.
    """
    canonical = extractor == "inception2015"
    out: dict[str, Any] = {"n": len(features)}
    short = "fid" if canonical else f"fd_{extractor}"
    for split in ("train", "val"):
        name = f"{split}_{resolution}"
        out[f"{short}_{split}"] = _frechet(features, stored, name)
        parts = [p for p in np.array_split(features, _SPREAD_SPLITS) if len(p) >= 2]
        if len(parts) == _SPREAD_SPLITS:
            # Smaller sets score higher: the spread of quarters, not their mean, is of use; a quarter varies twice.
            spread = np.std([_frechet(p, stored, name) for p in parts], ddof=1) / 2
            out[f"{short}_{split}_std"] = float(spread)
        real = stored[f"{name}/features"]
        kd, se = kernel_distance(features, real, seed=params.seed)
        out[f"kd_{extractor}_{split}"], out[f"kd_{extractor}_{split}_se"] = kd, se
    mean, std = classifier_score(logits, min(params.splits, len(logits)), params.seed)
    score = "inception_score" if canonical else f"score_{extractor}"
    out[score], out[f"{score}_std"] = mean, std
    if min(len(features), len(stored[f"train_{resolution}/features"])) > 3:
        out["precision"], out["recall"] = precision_recall(stored[f"train_{resolution}/features"], features)
    if len(features) < PUBLISHED_N:
        note = f"{len(features)} samples; published numbers use {PUBLISHED_N}, and fewer samples score worse"
        if len(features) < features.shape[1]:
            note += f". Fewer samples than the {features.shape[1]} feature dimensions: the covariance is singular"
        out["note"] = note
    return out
