"""The table of metrics of one set of samples against one or more sets of real images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.evaluation.collect import Reference, Summary, collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.metrics import kernel_distance, metric_names, precision_recall
from cdm_kedro.evaluation.reference import read_references
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.evaluation.statistics import frechet_distance
from cdm_kedro.params.evaluation import EvaluateParams

PUBLISHED_N = 50_000  # number of samples behind published numbers
_K = 3  # neighbours of precision and recall


def score(samples: Summary, references: Mapping[str, Reference], extractor: str) -> dict[str, Any]:
    """Compute all metrics of one set of samples.

    Returns metrics by name, ``n``, and a ``note`` on what makes them doubtful. ``<metric>_std`` is a spread over parts
    of the samples: over splits for the Inception-style score, and half of that over quarters for the Fréchet distance,
    since a quarter's varies twice as much as the whole's. ``<metric>_se`` is a standard error. ``references``: real
    images by the suffix of their metrics' names, such as ``train`` and ``val``; "" for no suffix.
    """
    names = metric_names(extractor)
    out: dict[str, Any] = {"n": samples.n}
    for suffix, reference in references.items():
        tail = f"_{suffix}" if suffix else ""
        out[f"reference_n{tail}"] = reference.moments.n
        out[f"{names['fd']}{tail}"] = frechet_distance(samples.moments, reference.moments)
        if samples.quarters:
            # Smaller sets have larger distances, so the quarters' spread is of use and their mean is not.
            quarters = [frechet_distance(quarter, reference.moments) for quarter in samples.quarters]
            out[f"{names['fd']}{tail}_std"] = float(np.std(quarters, ddof=1) / np.sqrt(len(quarters)))
        real, fake = reference.features, samples.features
        if real is None:
            continue
        out[f"kd_{extractor}{tail}"], out[f"kd_{extractor}{tail}_se"] = kernel_distance(fake, real)
        if min(len(real), len(fake)) > _K:
            precision, recall = precision_recall(real, fake, _K)
            for kind, share, images in (("precision", precision, fake), ("recall", recall, real)):
                out[f"{names[kind]}{tail}"] = share
                out[f"{names[kind]}{tail}_se"] = _share_error(share, len(images))
    if samples.inception_score is not None:
        out[names["score"]], spread = samples.inception_score
        out[f"{names['score']}_splits"] = samples.splits
        if samples.splits > 1:
            out[f"{names['score']}_std"] = spread
    dim, notes = len(samples.moments.mu), []
    if samples.n < PUBLISHED_N:
        notes.append(f"{samples.n} samples; published numbers use {PUBLISHED_N}, and fewer samples score worse")
    if samples.n <= dim:
        notes.append(f"Not more samples than the {dim} feature dimensions: the covariance is singular")
    return out | ({"note": ". ".join(notes)} if notes else {})


def _share_error(share: float, count: int) -> float:
    """Standard error of a share of ``count`` images by Agresti and Coull (1998), which is right at 0 and 1 too."""
    smoothed = (share * count + 2) / (count + 4)
    return float(np.sqrt(smoothed * (1 - smoothed) / (count + 4)))


def make_scorer(
    extractor: Extractor, params: EvaluateParams, reference: Path, resolution: int
) -> Callable[[Path], dict[str, Any]]:
    """A function from an npz of samples to their metrics, without a note and with the extractor.

    Raises CdmError if another extractor or other weights made the reference. ``resolution``: side of the samples
    in pixels.
    """
    references = read_references(reference, resolution, extractor)

    def score_file(samples: Path) -> dict[str, Any]:
        summary = collect(NpzSource(samples), extractor, params, f"score {resolution}")
        scores = score(summary, references, extractor.name)
        return {key: value for key, value in scores.items() if key != "note"} | {"extractor": extractor.name}

    return score_file
