"""Node that trains the single model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.claim import BaselineParams
from cdm_kedro.pipelines.train.nodes import make_train

NAME = "claim_baseline"


def train_baseline(
    images: Path, classes: list[str], data_card: dict[str, Any], params: BaselineParams, budget: dict[str, Any]
) -> dict[str, Any]:
    """Train the single model for as many steps as the budget says.

    Args:
        images: FFCV file of the training images.
        classes: class names.
        data_card: what preprocessing recorded.
        params: of the model.
        budget: what ``match_compute`` returned.

    Returns:
        ``model``, ``card`` and ``curve``, as of every trained stage.
    """
    return make_train(NAME)(images, classes, data_card, params.trained_for(budget["steps"]))
