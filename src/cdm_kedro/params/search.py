"""Parameters of the searches after training: over s, the number of steps, and the inference schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cdm_kedro.params.sampling import InferenceSchedule, SamplingParams

Mode = Literal["truncated", "non_truncated", "train", "val"]


class SearchParams(SamplingParams):
    """A sampling job for the stages up to one whose settings are searched.

    ``stages`` holds that stage and those below it, so that a search does not depend on how ``sample`` is set.
    """

    stage: str = Field(description="stage whose sampling is searched")
    select: Literal["train", "val"] = Field("train", description="reference of the Fréchet distance that decides")

    @model_validator(mode="after")
    def _decided(self) -> SearchParams:
        if self.stage not in self.stages:
            raise ValueError(f"stage is {self.stage!r}, which has no entry in stages {sorted(self.stages)}")
        for name, stage in self.stages.items():
            if stage.searched:
                raise ValueError(f"stages.{name} asks for best values; a search needs numbers")
        return self


class SearchTruncationParams(SearchParams):
    """Score against s (Tables 3a and 3b)."""

    s: tuple[int, ...] = Field(min_length=1, description="values of s; 0 is the baseline without augmentation")
    modes: tuple[Mode, ...] = Field(
        ("truncated", "non_truncated", "train", "val"),
        min_length=1,
        description="how the low-resolution input is made: the low model stopped at s, its samples noised to s, or "
        "real training or validation images noised to s",
    )

    @model_validator(mode="after")
    def _values(self) -> SearchTruncationParams:
        if min(self.s) < 0 or len(set(self.s)) != len(self.s) or len(set(self.modes)) != len(self.modes):
            raise ValueError(f"s {self.s} and modes {self.modes} must be without repetition, and s not negative")
        if not {"truncated", "non_truncated"} & set(self.modes):
            raise ValueError("modes holds only real images; the best s is that of generated ones")
        return self


class SearchStepsParams(SearchParams):
    """Score against the number of reverse steps (Figure 8)."""

    steps: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _values(self) -> SearchStepsParams:
        if min(self.steps) < 1 or len(set(self.steps)) != len(self.steps):
            raise ValueError(f"steps {self.steps} must be positive and without repetition")
        return self


class SearchScheduleParams(SearchParams):
    """Score of inference schedules at a fixed number of steps (section 4.4)."""

    steps: int = Field(ge=1)
    schedules: tuple[InferenceSchedule, ...] = Field(("linear", "quadratic", "log", "cosine"), min_length=1)
    beta_start: tuple[float, ...] = Field((1e-4,), min_length=1, description="grid of end points; cosine has none")
    beta_end: tuple[float, ...] = Field((0.02,), min_length=1)

    @model_validator(mode="after")
    def _values(self) -> SearchScheduleParams:
        for key in ("beta_start", "beta_end"):
            if not all(0 < beta < 1 for beta in getattr(self, key)):
                raise ValueError(f"{key} holds {getattr(self, key)}; betas lie strictly between 0 and 1")
        return self
