"""Parameters of the paper's claim: a cascade at many s beside one model of the same training compute."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from cdm_kedro.errors import CdmError
from cdm_kedro.params.model import GaussianAugmentation, ModelParams, TrainedModelParams, TrainingParams, parse_model
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.params.search import SearchTruncationParams

SINGLE = "single"  # what tables say of the model without a cascade where others say what conditions them


class BaselineTrainingParams(TrainingParams):
    """How the single model is trained; the compute of the cascade decides for how many steps."""

    steps: None = Field(None, description="follows from the compute of the cascade's models")  # type: ignore[assignment]
    selection: None = Field(None, description="nothing but s is chosen by the score")


class BaselineParams(ModelParams):
    """One model for the whole resolution, trained with the compute of the cascade."""

    training: BaselineTrainingParams

    @model_validator(mode="after")
    def _single(self) -> "BaselineParams":
        if self.low is not None:
            raise ValueError(f"low is {self.low!r}; the baseline is one model without a cascade, so low must be null")
        return self

    def trained_for(self, steps: int) -> TrainedModelParams:
        """Parameters that train it for a number of optimizer steps."""
        values = self.model_dump()
        values["training"]["steps"] = steps
        return TrainedModelParams.model_validate(values)


class ClaimSweepParams(SearchTruncationParams):
    """The points of Table 3 for one model, and how the single model is sampled beside them."""

    baseline: ModelSamplingParams = Field(description="how the single model is sampled")

    @model_validator(mode="after")
    def _enough(self) -> "ClaimSweepParams":
        if "seed" in self.model_fields_set:
            raise ValueError(f"seed is {self.seed}; claim.seeds says which seeds are sampled")
        if self.report_samples is not None:
            raise ValueError("report_samples is for searches; the claim scores every point on num_samples")
        if self.select != "train":
            raise ValueError(f"select is {self.select!r}; the claim is judged by the distance to training images")
        if 0 not in self.s or len(self.s) < 3:
            raise ValueError(f"s {list(self.s)} must hold 0 and at least two more; the claim is about a curve over s")
        if not {"truncated", "non_truncated"} <= set(self.modes) or not {"train", "val"} & set(self.modes):
            raise ValueError(
                f"modes {list(self.modes)} must hold truncated, non_truncated and one of train and val; the claim "
                "compares them"
            )
        return self


def trained_models(sweep: ClaimSweepParams, models: Mapping[str, dict[str, Any]]) -> dict[str, TrainedModelParams]:
    """Parameters of the cascade's models, if the claim can be tested with them.

    Raises CdmError if a model has published weights, so that its training compute is unknown; or its training selects
    weights, so that its steps do not say its compute and more than s is chosen by the score; or it is not trained for
    the values of s. Raises pydantic.ValidationError if a value is of the wrong type.
    """
    trained = {}
    for name, raw in models.items():
        params = parse_model(raw)
        if not isinstance(params, TrainedModelParams):
            raise CdmError(f"{name} has published weights; the claim compares training compute, so train it")
        if params.training.selection is not None:
            raise CdmError(f"{name}.training.selection must be null: in the claim only s is chosen by the score")
        trained[name] = params
    augmentation = trained[sweep.stage].augmentation
    if not isinstance(augmentation, GaussianAugmentation) or augmentation.s is not None:
        raise CdmError(f"{sweep.stage}.augmentation must be gaussian without a fixed s: one model is asked for every s")
    if max(sweep.s) > augmentation.s_max:
        raise CdmError(
            f"claim.sweep.s holds {max(sweep.s)}; {sweep.stage} is trained for s up to {augmentation.s_max} "
            f"({sweep.stage}.augmentation.max_s)"
        )
    return trained
