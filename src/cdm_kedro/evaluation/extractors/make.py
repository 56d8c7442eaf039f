"""The extractor that the parameters ask for."""

from __future__ import annotations

from pathlib import Path

import torch

from cdm_kedro.evaluation.extractors.efficientnet import efficientnet_lite0
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.params.evaluation import EvaluateParams


def make_extractor(params: EvaluateParams, device: torch.device | None = None) -> Extractor:
    """The extractor that the parameters name.

    Args:
        params: ``extractor``, ``weights`` and ``input_side``.
        device: default is the GPU where there is one.

    Raises:
        ValueError: unusable weights.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if params.extractor == "efficientnet_lite0":
        return efficientnet_lite0(params.input_side, device)
    assert params.weights is not None  # the parameters' own check
    if params.extractor == "inception2015":
        from cdm_kedro.evaluation.extractors.inception import inception2015

        return inception2015(Path(params.weights), device)
    from cdm_kedro.evaluation.extractors.dinov2 import dinov2

    return dinov2(params.extractor, Path(params.weights), params.input_side, device)
