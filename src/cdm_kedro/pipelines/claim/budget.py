"""Node that gives the single model the cascade's training compute."""

from typing import Any

from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams, trained_models
from cdm_kedro.params.model import TrainedModelParams


def match_compute(
    classes: list[str], baseline: BaselineParams, sweep: ClaimSweepParams, **models: dict[str, Any]
) -> dict[str, Any]:
    """Find the steps that give the single model as many floating-point operations of training as the cascade has.

    ``models`` holds the parameters of the cascade's models. Returns ``steps`` of the single model; by name of the
    ``models`` their parameters, operations and images seen; and the ``ratio`` of its operations to the cascade's.
    """
    from cdm_kedro.model.sizes import model_size

    def cost(params: TrainedModelParams) -> dict[str, Any]:
        images = params.training.steps * params.training.batch_size
        return {**vars(model_size(params, len(classes))), "images_seen": images}

    costs = {name: cost(params) for name, params in trained_models(sweep, models).items()}
    total = sum(model["training_flops"] for model in costs.values())
    steps = max(1, round(total / cost(baseline.trained_for(1))["training_flops"]))
    costs["claim_baseline"] = cost(baseline.trained_for(steps))
    return {"steps": steps, "models": costs, "ratio": costs["claim_baseline"]["training_flops"] / total}
