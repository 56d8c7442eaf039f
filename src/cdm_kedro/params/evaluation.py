"""Parameters of evaluation and of the report."""

from typing import Literal

from pydantic import Field, model_validator

from cdm_kedro.params.base import Devices, Params


class EvaluateParams(Params):
    """How generated images are scored against real ones."""

    extractor: Literal["efficientnet_lite0", "inception2015", "dinov2_vits14", "dinov2_vitb14", "dinov2_vitl14"] = (
        "efficientnet_lite0"
    )
    weights: str | None = Field(None, description="pt_inception-2015-12-05… or dinov2_*_pretrain.pth, as the extractor")
    input_side: int = Field(224, ge=32, le=518, description="pixels for efficientnet_lite0 and DINOv2; Inception: 299")
    batch_size: int = Field(64, ge=1)
    devices: Devices = "auto"
    max_images: int | None = Field(None, ge=4, description="cap on images per set; null = all")
    kept_features: int = Field(
        10_000, ge=10, description="images a set for metrics of quadratic cost (kernel distance, precision, recall)"
    )
    splits: int = Field(10, ge=1, description="splits of the Inception-style score")
    seed: int = Field(0, ge=0, description="which images are in which split and whose features are kept")
    champion_metric: Literal["fd_val", "fd_train", "kd_val", "score", "precision_train", "recall_train"] = Field(
        "fd_val", description="score at the largest size that decides which registered cascade is the champion"
    )

    @model_validator(mode="after")
    def _weights(self) -> "EvaluateParams":
        if self.extractor != "efficientnet_lite0" and self.weights is None:
            published = {"inception2015": "pt_inception-2015-12-05-6726825d.pth"}
            file = published.get(self.extractor, f"{self.extractor}_pretrain.pth")
            raise ValueError(f"extractor {self.extractor} needs weights: the path of {file}")
        if self.extractor.startswith("dinov2") and self.input_side % 14:
            raise ValueError(f"input_side {self.input_side} is not divisible by DINOv2's patch of 14; use 224")
        return self


class ReportParams(Params):
    """What the HTML page shows."""

    title: str = "Cascaded diffusion: run report"
    include: list[str] = Field(
        [], description="pipelines whose results are shown too (run them first): cas, likelihood, claim, search_…"
    )
    price_per_device_hour: float | None = Field(None, ge=0, description="adds a column of training cost")
    currency: str = "USD"
