"""The evaluation code, as a function of one npz of samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams


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
    from cdm_kedro.pipelines.evaluate.nodes import evaluate

    def score(samples: Path) -> dict[str, Any]:
        metrics = evaluate(params, reference, **{f"samples_{resolution}": samples})
        scores = {key: value for key, value in metrics[f"{resolution}px"].items() if key != "note"}
        return {**scores, "extractor": metrics["extractor"]["name"]}

    return score
