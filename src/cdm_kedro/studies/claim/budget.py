"""The training compute of the cascade, and the steps that give the single model as much."""

from collections.abc import Mapping
from typing import Any

from cdm_kedro.model.sizes import model_size
from cdm_kedro.params.claim import BaselineParams
from cdm_kedro.params.model import TrainedModelParams


def match_compute(
    cascade: Mapping[str, TrainedModelParams], baseline: BaselineParams, num_classes: int
) -> dict[str, Any]:
    """Count the floating-point operations of training, and match them.

    Returns ``steps`` of the single model; by name of the ``models`` their parameters, operations and images seen; and
    the ``ratio`` of the single model's operations to the cascade's.
    """

    def cost(params: TrainedModelParams) -> dict[str, Any]:
        images = params.training.steps * params.training.batch_size
        return {**vars(model_size(params, num_classes)), "images_seen": images}

    models = {name: cost(params) for name, params in cascade.items()}
    total = sum(model["training_flops"] for model in models.values())
    steps = max(1, round(total / cost(baseline.trained_for(1))["training_flops"]))
    models["claim_baseline"] = cost(baseline.trained_for(steps))
    return {"steps": steps, "models": models, "ratio": models["claim_baseline"]["training_flops"] / total}
