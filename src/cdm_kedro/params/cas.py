"""Parameters of classifiers and of the Classification Accuracy Score."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from cdm_kedro.params.base import Devices, Params
from cdm_kedro.params.model import Precision


class ClassifierParams(Params):
    """A ResNet and how it is trained."""

    depth: Literal[18, 34, 50, 101] = Field(50, description="of the ResNet")
    width: int = Field(64, ge=4, description="channels of its first stage; 64 is the published network")
    steps: int = Field(ge=1, description="optimizer steps")
    batch_size: int = Field(ge=1, description="images per step over all devices")
    lr: float = Field(0.1, gt=0, description="peak of the cosine schedule; 0.1 goes with 256 images a step")
    warmup_steps: int = Field(0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    random_flip: bool = True
    min_crop: float = Field(0.08, gt=0, le=1, description="least share of the area that a random crop keeps; 1 = none")
    precision: Precision = "bf16"
    compile: bool | None = Field(None, description="torch.compile; null = on CUDA only")
    devices: Devices = "auto"
    seed: int = Field(0, ge=0)
    log_every: int = Field(50, ge=1)
    checkpoint_seconds: float = Field(300.0, gt=0)

    @model_validator(mode="after")
    def _warm(self) -> "ClassifierParams":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below steps {self.steps}")
        return self


class CasParams(ClassifierParams):
    """Two classifiers of the same recipe, of real and of generated images (Ravuri and Vinyals 2019)."""

    resolutions: list[int] = Field(description="sizes of the cascade at which classifiers are trained; [] for none")
    num_samples: PositiveInt | Literal["train"] | None = Field(
        None, description="made for the classifiers; train = of each class as in training; null = those of `sample`"
    )
