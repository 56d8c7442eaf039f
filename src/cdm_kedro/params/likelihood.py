"""Parameters of the likelihood bound."""

from typing import Literal

from pydantic import Field

from cdm_kedro.params.base import Params
from cdm_kedro.params.model import Precision


class LikelihoodParams(Params):
    """How the bits per dimension of real images are bounded, by every model and by the cascade."""

    split: Literal["train", "val"] = "val"
    images: int | None = Field(1000, ge=1, description="images of the split, from its start; null = all")
    batch_size: int = Field(16, ge=1, description="images per forward pass")
    timesteps: int | None = Field(50, ge=1, description="stratified terms of the bound drawn an image; null = all")
    stages: tuple[str, ...] | None = Field(None, description="models to bound, with those below; null = all")
    precision: Precision = "fp32"
    seed: int = Field(0, ge=0)
