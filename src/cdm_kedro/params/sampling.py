"""Parameters of sampling the cascade."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cdm_kedro.params.base import AtLeastOne, Devices, Params
from cdm_kedro.params.model import Precision

InferenceSchedule = Literal["linear", "cosine", "quadratic", "log"]

SEARCHES = {
    "search_truncation": ("s", "truncated"),
    "search_steps": ("steps", "schedule", "beta_start", "beta_end"),
    "search_schedule": ("schedule", "beta_start", "beta_end", "steps"),
}
"""Each search and the sampling settings that it finds. ``best`` as the first of them asks for them all."""


def asked_searches(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the searches whose best values a model's sampling settings ask for."""
    return tuple(search for search, (key, *_) in SEARCHES.items() if settings.get(key) == "best")


class ModelSamplingParams(Params):
    """How one model of the cascade is sampled.

    ``best`` as a value of ``s``, ``steps`` or ``schedule`` takes what a search found; see :data:`SEARCHES`.
    """

    sampler: Literal["ancestral", "ddim", "dpmpp_2m"] = "ancestral"
    steps: int | Literal["best"] | None = Field(None, description="reverse steps; null = all training timesteps")
    schedule: Literal["train", "linear", "cosine", "quadratic", "log", "best"] = Field(
        "train", description="noise levels of the reverse process; train = the training schedule, respaced"
    )
    beta_start: float | None = Field(
        None, gt=0, lt=1, description="first beta of linear, quadratic and log, for any steps; null = as in training"
    )
    beta_end: float | None = Field(None, gt=0, lt=1, description="last beta; null = ends at training's noisiest level")
    variance: Literal["small", "large"] = Field(
        "small", description="ancestral steps without learned variances: small = beta-tilde, large = beta (SR3)"
    )
    eta: float = Field(0.0, ge=0, le=1, description="DDIM's stochasticity")
    clip_x_start: bool = True
    guidance_scale: float = Field(1.0, ge=0, description="classifier-free guidance; 1 = none (the paper)")
    s: int | Literal["best"] = Field(0, description="conditioning augmentation, in steps of the low model; 0 = clean")
    truncated: bool = Field(False, description="stop the low model at s (section 3.2) instead of re-noising (3.3)")
    blur: float = Field(0.0, ge=0, description="Gaussian blur of the low-resolution input, in its pixels (3.1)")
    conditioning: Literal["generated", "train", "val"] = Field(
        "generated", description="low-resolution input: the low model's samples, or real images (Table 3b)"
    )
    resample_from: int | None = Field(None, ge=1, description="noise samples to this step, sample again (Table 2a)")

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSamplingParams":
        for key, least in (("s", 0), ("steps", 1)):
            value = getattr(self, key)
            if isinstance(value, int) and value < least:
                raise ValueError(f"{key} is {value}; it must be at least {least}")
        if self.beta_start is not None and self.beta_end is not None and self.beta_start >= self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} must be below beta_end {self.beta_end}")
        if self.truncated and self.conditioning != "generated" and self.s != 0:
            raise ValueError(
                f"truncated stops the low model at s, but conditioning is {self.conditioning}; real images are noised "
                "to s, so use truncated: false"
            )
        if self.variance == "large" and self.sampler != "ancestral":
            raise ValueError(f"variance is about sampler: ancestral; {self.sampler} has none")
        if self.resample_from is not None and (self.sampler != "ancestral" or self.schedule != "train"):
            raise ValueError("resample_from needs sampler: ancestral and schedule: train")
        return self

    @property
    def searched(self) -> tuple[str, ...]:
        """Names of the searches whose best values this model asks for."""
        return asked_searches(vars(self))


class JobParams(Params):
    """How many samples a job makes, and on what."""

    num_samples: int = Field(ge=1, description="class-balanced over all classes")
    batch_size: Annotated[int | Literal["auto"], AtLeastOne] = Field(
        64, description="images at once at the lowest resolution, fewer above; auto = what the GPU's memory takes"
    )
    seed: int = Field(0, ge=0)
    precision: Precision = "bf16"
    compile: bool | None = Field(None, description="torch.compile; null = on CUDA only")
    devices: Devices = "auto"


class SamplingParams(JobParams):
    """A job, and how each model of the cascade is sampled."""

    stages: Annotated[dict[str, ModelSamplingParams], Field(min_length=1)]


class SampleParams(SamplingParams):
    """How the whole cascade is sampled."""


class GridsParams(Params):
    """Pictures of the samples."""

    columns: int = Field(8, ge=1, description="images a class in the PNG grids")
