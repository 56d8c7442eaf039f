"""Node that trains the single model."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.claim import BaselineParams
from cdm_kedro.pipelines.train.nodes import make_train

NAME = "claim_baseline"


def train_baseline(
    images: Path, classes: list[str], data_card: dict[str, Any], params: BaselineParams, budget: dict[str, Any]
) -> dict[str, Any]:
    """Train the single model, as every model of a cascade is trained, for as many steps as the budget says."""
    return make_train(NAME)(images, classes, data_card, params.trained_for(budget["steps"]))
