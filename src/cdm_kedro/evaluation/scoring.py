"""All scores of one set of samples against one or more references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.measure import Summary
from cdm_kedro.evaluation.metrics import kernel_distance, precision_recall
from cdm_kedro.evaluation.reference import Reference
from cdm_kedro.evaluation.statistics import frechet_distance

PUBLISHED_N = 50_000
CANONICAL = "inception2015"
_K = 3  # neighbours of precision and recall


def metric_names(extractor: str) -> dict[str, str]:
    """Names of the Fréchet distance, the class score, precision and recall; only the canonical network's are bare."""
    if extractor == CANONICAL:
        return {"fd": "fid", "score": "inception_score", "precision": "precision", "recall": "recall"}
    return {
        "fd": f"fd_{extractor}",
        "score": f"score_{extractor}",
        "precision": f"precision_{extractor}",
        "recall": f"recall_{extractor}",
    }


def score(summary: Summary, references: Mapping[str, Reference], extractor: str) -> dict[str, Any]:
    """Scores of one set of samples.

    Args:
        summary: of the samples.
        references: by the suffix of their metrics' names, such as ``train`` and ``val``; "" for no suffix.
        extractor: name, for the metrics' names.

    Returns:
        Metric names to values, with ``n``; ``_std`` is over parts of the samples (the class score's over its splits,
        the Fréchet distance's half of that over quarters, as a quarter varies twice as much), ``_se`` a standard error
        (precision's and recall's over the judged images alone).
    """
    names = metric_names(extractor)
    out: dict[str, Any] = {"n": summary.n}
    notes = []
    for suffix, reference in references.items():
        tail = f"_{suffix}" if suffix else ""
        out[f"reference_n{tail}"] = reference.moments.n
        out[f"{names['fd']}{tail}"] = frechet_distance(summary.moments, reference.moments)
        if summary.quarters:
            # Smaller sets score higher: the spread of quarters, not their mean, is of use.
            quarters = [frechet_distance(quarter, reference.moments) for quarter in summary.quarters]
            out[f"{names['fd']}{tail}_std"] = float(np.std(quarters, ddof=1) / np.sqrt(len(quarters)))
        real, fake = reference.features, summary.features
        if real is not None:
            value, error = kernel_distance(fake, real)
            out[f"kd_{extractor}{tail}"], out[f"kd_{extractor}{tail}_se"] = value, error
        if real is not None and min(len(real), len(fake)) > _K:
            shares = dict(zip(("precision", "recall"), precision_recall(real, fake, _K), strict=True))
            for kind, judged in (("precision", fake), ("recall", real)):
                share = shares[kind]
                out[f"{names[kind]}{tail}"] = share
                smoothed = (share * len(judged) + 2) / (len(judged) + 4)  # Agresti and Coull 1998: right at 0 and 1 too
                out[f"{names[kind]}{tail}_se"] = float(np.sqrt(smoothed * (1 - smoothed) / (len(judged) + 4)))
    if summary.class_score is not None:
        out[names["score"]], spread = summary.class_score
        out[f"{names['score']}_splits"] = summary.splits
        if summary.splits > 1:
            out[f"{names['score']}_std"] = spread
    dim = len(summary.moments.mu)
    if summary.n < PUBLISHED_N:
        notes.append(f"{summary.n} samples; published numbers use {PUBLISHED_N}, and fewer samples score worse")
    if summary.n <= dim:
        notes.append(f"Not more samples than the {dim} feature dimensions: the covariance is singular")
    if notes:
        out["note"] = ". ".join(notes)
    return out


def absent_classes(labels: Any, num_classes: int) -> str | None:
    """A remark where some classes have no sample."""
    if labels is None:
        return None
    present = np.unique(np.asarray(labels))
    missing = sorted(set(range(num_classes)) - set(present.tolist()))
    if not missing:
        return None
    return f"{len(missing)} of {num_classes} classes have no sample (class {', '.join(map(str, missing[:5]))}…)"


def describe(extractor: Extractor) -> dict[str, Any]:
    """What made the features, for the metrics file."""
    return {
        "name": extractor.name,
        "weights_sha256": extractor.weights_sha256,
        "preprocessing": extractor.preprocessing,
        "dim": extractor.dim,
    }
