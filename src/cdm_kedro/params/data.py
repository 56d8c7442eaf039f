"""Parameters of the images: the embedded data set and preprocessing."""

from typing import Literal

from pydantic import Field, model_validator

from cdm_kedro.params.base import Params

RESOLUTIONS: tuple[int, ...] = (32, 64, 128, 256)
"""Sizes that preprocessing stores unless told otherwise, in pixels (paper section 4.1)."""
CROP_SIDE = 256  # side of the largest crop, which is always stored: it identifies the images


class EmbeddedParams(Params):
    """The data set that the demo trains on, rendered from a seed into a folder of JPEGs in ImageNet's layout."""

    train_per_class: int = Field(200, ge=1, description="training images a class")
    val_per_class: int = Field(40, ge=1, description="validation images a class")
    size: int = Field(320, ge=64, description="side of the rendered images in pixels")
    jpeg_quality: int = Field(92, ge=50, le=100)
    seed: int = Field(0, ge=0)
    variety: float = Field(0.0, ge=0, le=1, description="how much view and light differ; 0: as composed, 1: any hue")


class PreprocessParams(Params):
    """How images are cropped (as BigGAN does) and stored in FFCV files of raw pixels."""

    resize: Literal["area", "bilinear", "guided_diffusion"] = Field(
        "area", description="filter to every size: exact area mean, BigGAN-PyTorch's or OpenAI guided-diffusion's"
    )
    on_bad_image: Literal["fail", "skip"] = "fail"
    apply_exif_rotation: bool = True
    workers: int = Field(0, ge=0, description="decoding processes; 0 = one a core")
    seed: int = Field(0, ge=0, description="order in which samples are written")
    resolutions: tuple[int, ...] = Field(RESOLUTIONS, min_length=1, description="sides in pixels, divisors of 256")
    val_files: str | None = Field(
        None, description="list of held-out images for a folder without val/; `kedro inspect-images --split` writes it"
    )

    @model_validator(mode="after")
    def _divide(self) -> "PreprocessParams":
        wrong = [side for side in self.resolutions if side < 1 or CROP_SIDE % side]
        if wrong or len(set(self.resolutions)) != len(self.resolutions):
            raise ValueError(f"resolutions {list(self.resolutions)} must be different divisors of {CROP_SIDE}")
        return self
