"""Parameters of the searches after training, over s, the number of steps, and the inference schedule."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cdm_kedro.params.base import Different
from cdm_kedro.params.sampling import InferenceSchedule, SamplingParams

Mode = Literal["truncated", "non_truncated", "train", "val"]
Beta = Annotated[float, Field(gt=0, lt=1)]


class SearchParams(SamplingParams):
    """A sampling job up to the model whose settings are searched.

    ``stages`` holds that model and those below it, so that a search does not depend on how ``sample`` is set.
    """

    stage: str = Field(description="model whose sampling is searched")
    select: Literal["train", "val"] = Field("train", description="reference of the Fréchet distance that decides")
    report_samples: PositiveInt | None = Field(
        None, description="samples with which the best points are scored again (the paper: selects on 10k, reports 50k)"
    )

    @model_validator(mode="after")
    def _decided(self) -> "SearchParams":
        if self.stage not in self.stages:
            raise ValueError(f"stage is {self.stage!r}, which has no entry in stages {sorted(self.stages)}")
        for name, stage in self.stages.items():
            if stage.searched:
                raise ValueError(f"stages.{name} asks for best values; a search needs numbers")
        return self


class SearchTruncationParams(SearchParams):
    """Score against s (Tables 3a and 3b)."""

    s: Annotated[tuple[NonNegativeInt, ...], Different] = Field(min_length=1, description="0 is without augmentation")
    modes: Annotated[tuple[Mode, ...], Different] = Field(
        ("truncated", "non_truncated", "train", "val"),
        min_length=1,
        description="the low model stopped at s, its samples noised to s, or real images of a split noised to s",
    )

    @model_validator(mode="after")
    def _generated(self) -> "SearchTruncationParams":
        if not {"truncated", "non_truncated"} & set(self.modes):
            raise ValueError("modes holds only real images; the best s is that of generated ones")
        return self


class SearchScheduleParams(SearchParams):
    """Score of inference schedules at every number of reverse steps (section 4.4, Figure 8)."""

    steps: Annotated[tuple[PositiveInt, ...], Different] = Field(min_length=1)
    schedules: tuple[InferenceSchedule | Literal["train"], ...] = Field(("linear", "quadratic", "log"), min_length=1)
    beta_start: tuple[Beta | None, ...] = Field(
        (None,), min_length=1, description="grid of end points, null as in sampling; train and cosine have none"
    )
    beta_end: tuple[Beta | None, ...] = Field((None,), min_length=1)
