"""Node that gives the single model the cascade's compute."""

from __future__ import annotations

from typing import Any

from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams

NAME = "claim_budget"


class ClaimError(ValueError):
    """Parameters with which the claim cannot be tested; the message names key, value and fix."""


def match_compute(
    classes: list[str], baseline: BaselineParams, sweep: ClaimSweepParams, **stages: dict[str, Any]
) -> dict[str, Any]:
    """Count floating-point operations of training, and find the steps that give the single model as many.

    It also refuses what could not be sampled, so it goes before every training (see the registry).

    Args:
        classes: class names.
        baseline: the single model.
        sweep: the points that are to be sampled.
        stages: parameters of the cascade's stages.

    Returns:
        ``steps`` of the single model, and ``models`` by name: parameters, operations, images seen.

    Raises:
        ClaimError: a stage with published weights (nobody's training here to be matched) or with selection (steps would
            not say its compute, nor would s be all that is chosen by the score), or a stage that was not trained for
            the values of s.
    """
    from cdm_kedro.model.sizes import model_size
    from cdm_kedro.params.stage import GaussianAugmentation, StageParams, parse_model

    augmentation = parse_model(stages[sweep.stage]).augmentation
    if not isinstance(augmentation, GaussianAugmentation) or augmentation.s is not None:
        raise ClaimError(
            f"{sweep.stage}.augmentation must be gaussian without a fixed s: one model is asked for every s"
        )
    if max(sweep.s) > augmentation.s_max:
        raise ClaimError(
            f"claim.sweep.s holds {max(sweep.s)}; {sweep.stage} is trained for s up to {augmentation.s_max} "
            f"({sweep.stage}.augmentation.max_s)"
        )
    parsed = {name: parse_model(raw) for name, raw in stages.items()}
    models = {}
    for name, params in parsed.items():
        if not isinstance(params, StageParams):
            raise ClaimError(f"{name} has published weights; the claim compares training compute, so train it")
        if params.training.selection is not None:
            raise ClaimError(f"{name}.training.selection must be null: in the claim only s is chosen by the score")
        size = model_size(params, len(classes))
        images = params.training.steps * params.training.batch_size
        models[name] = {**vars(size), "images_seen": images}
    total = sum(model["training_flops"] for model in models.values())
    one = model_size(baseline.trained_for(1), len(classes))
    steps = max(1, round(total / one.training_flops))
    size = model_size(baseline.trained_for(steps), len(classes))
    models["claim_baseline"] = {**vars(size), "images_seen": steps * baseline.training.batch_size}
    return {"steps": steps, "models": models, "ratio": size.training_flops / total}
