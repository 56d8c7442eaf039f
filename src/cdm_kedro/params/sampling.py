"""Parameters of sampling the cascade."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cdm_kedro.params.base import Params
from cdm_kedro.params.stage import Precision


class StageSamplingParams(Params):
    """How one stage of the cascade is sampled."""

    sampler: Literal["ancestral", "ddim", "dpmpp_2m"] = "ancestral"
    steps: int | None = Field(None, ge=1, description="reverse steps; null = all training timesteps")
    schedule: Literal["train", "linear", "cosine", "quadratic", "log"] = Field(
        "train", description="noise levels of the reverse process; train = the training schedule, respaced"
    )
    beta_start: float = Field(1e-4, gt=0, lt=1, description="end points of the inference schedule linear/quadratic/log")
    beta_end: float = Field(0.02, gt=0, lt=1)
    eta: float = Field(0.0, ge=0, le=1, description="DDIM's stochasticity")
    clip_x_start: bool = True
    guidance_scale: float = Field(1.0, ge=0, description="classifier-free guidance; 1 = none (the paper)")
    s: int = Field(0, ge=0, description="conditioning augmentation at inference, in steps of the low stage; 0 = clean")
    truncated: bool = Field(False, description="stop the low stage at s (section 3.2) instead of re-noising (3.3)")


class SampleParams(Params):
    """Samples of the whole cascade."""

    num_samples: int = Field(ge=1, description="class-balanced over all classes")
    batch_size: int = Field(64, ge=1, description="images per forward pass at the lowest resolution")
    seed: int = Field(0, ge=0)
    precision: Precision = "bf16"
    grid_columns: int = Field(8, ge=1, description="images a class in the PNG grids")
    stages: dict[str, StageSamplingParams]

    @model_validator(mode="after")
    def _some(self) -> SampleParams:
        if not self.stages:
            raise ValueError("stages is empty; give sampling settings for every stage of the cascade")
        return self
