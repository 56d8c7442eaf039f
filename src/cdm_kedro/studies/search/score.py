"""The evaluation code, as a function of one npz of samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdm_kedro.params.evaluation import EvaluateParams

if TYPE_CHECKING:
    from cdm_kedro.evaluation.extractors.extractor import Extractor


def frechet_name(params: EvaluateParams, metrics: dict[str, Any]) -> str:
    """Name of the Fréchet distance, without its reference: ``fid`` with the canonical network only."""
    return "fid" if params.extractor == "inception2015" else f"fd_{metrics['extractor']}"


def make_score(params: EvaluateParams, reference: Path, resolution: int) -> Callable[[Path], dict[str, Any]]:
    """Scores of samples at one resolution, as the evaluate stage computes them, with the extractor's name.

    Args:
        params: extractor and limits.
        reference: what the reference stage made.
        resolution: of the samples.

    Returns:
        npz to metric names and values.
    """
    from cdm_kedro.evaluation.extractors.make import make_extractor

    return score_with(make_extractor(params), params, reference, resolution)


def score_with(
    extractor: Extractor, params: EvaluateParams, reference: Path, resolution: int
) -> Callable[[Path], dict[str, Any]]:
    """As :func:`make_score`, by a given extractor.

    Args:
        extractor: that made ``reference`` too.
        params: limits; with several ``devices`` each process makes the extractor that the parameters name.
        reference: statistics of real images in the reference stage's form.
        resolution: of the samples.

    Returns:
        npz to metric names and values.
    """
    import numpy as np

    from cdm_kedro.evaluation.measure import measure
    from cdm_kedro.evaluation.reference import check_identity, read_reference
    from cdm_kedro.evaluation.scoring import score
    from cdm_kedro.evaluation.sources import NpzSource

    with np.load(reference, allow_pickle=False) as arrays:
        check_identity(arrays, extractor, reference)
        references = {split: read_reference(arrays, f"{split}_{resolution}/") for split in ("train", "val")}

    def score_file(samples: Path) -> dict[str, Any]:
        summary = measure(NpzSource(samples), extractor, params, f"score {resolution}")
        scores = score(summary, references, extractor.name)
        scores.pop("note", None)
        return {**scores, "extractor": extractor.name}

    return score_file
