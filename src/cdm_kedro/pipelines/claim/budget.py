"""Node that gives the single model the cascade's training compute."""

from typing import Any

from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams, trained_models


def match_compute(
    classes: list[str], baseline: BaselineParams, sweep: ClaimSweepParams, **models: dict[str, Any]
) -> dict[str, Any]:
    """Find the steps that give the single model as many floating-point operations of training as the cascade has.

    ``models`` holds the parameters of the cascade's models; see :func:`cdm_kedro.studies.claim.budget.match_compute`.
    """
    from cdm_kedro.studies.claim.budget import match_compute

    return match_compute(trained_models(sweep, models), baseline, len(classes))
