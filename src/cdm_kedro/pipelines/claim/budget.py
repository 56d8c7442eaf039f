"""Node that gives the single model the cascade's compute."""

from __future__ import annotations

from typing import Any

from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams, trained_models


def match_compute(
    classes: list[str], baseline: BaselineParams, sweep: ClaimSweepParams, **stages: dict[str, Any]
) -> dict[str, Any]:
    """Count floating-point operations of training, and find the steps that give the single model as many.

    Args:
        classes: class names.
        baseline: the single model.
        sweep: the points that are to be sampled.
        stages: parameters of the cascade's stages.

    Returns:
        ``steps`` of the single model, and ``models`` by name: parameters, operations, images seen.

    Raises:
        ClaimError: see :func:`cdm_kedro.params.claim.trained_models`.
    """
    from cdm_kedro.model.sizes import model_size

    parsed = trained_models(sweep, stages)
    models = {}
    for name, params in parsed.items():
        size = model_size(params, len(classes))
        images = params.training.steps * params.training.batch_size
        models[name] = {**vars(size), "images_seen": images}
    total = sum(model["training_flops"] for model in models.values())
    one = model_size(baseline.trained_for(1), len(classes))
    steps = max(1, round(total / one.training_flops))
    size = model_size(baseline.trained_for(steps), len(classes))
    models["claim_baseline"] = {**vars(size), "images_seen": steps * baseline.training.batch_size}
    return {"steps": steps, "models": models, "ratio": size.training_flops / total}
