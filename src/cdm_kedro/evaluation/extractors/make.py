"""From parameters to the extractor that they name."""

from pathlib import Path

import torch

from cdm_kedro.evaluation.extractors.dinov2 import dinov2
from cdm_kedro.evaluation.extractors.efficientnet import efficientnet_lite0
from cdm_kedro.evaluation.extractors.extractor import Extractor, best_device
from cdm_kedro.evaluation.extractors.inception import inception2015
from cdm_kedro.params.evaluation import EvaluateParams


def make_extractor(params: EvaluateParams, device: torch.device | None = None) -> Extractor:
    """Make the extractor that the parameters name.

    Raises WeightsError if the weights cannot be used. ``device``: where the network runs; by default the GPU if there
    is one.
    """
    device = device or best_device()
    if params.extractor == "efficientnet_lite0":
        return efficientnet_lite0(params.input_side, device)
    assert params.weights is not None  # the parameters check it themselves
    if params.extractor == "inception2015":
        return inception2015(Path(params.weights), device)
    return dinov2(params.extractor, Path(params.weights), params.input_side, device)
