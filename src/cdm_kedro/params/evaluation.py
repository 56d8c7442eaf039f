"""Parameters of evaluation and of the report."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cdm_kedro.params.base import Params


class EvaluateParams(Params):
    """Scores of generated images against real ones."""

    extractor: Literal["efficientnet_lite0", "inception2015"] = "efficientnet_lite0"
    weights: str | None = Field(None, description="weights file of inception2015 (pt_inception-2015-12-05)")
    input_side: int = Field(224, ge=32, le=512, description="pixels efficientnet_lite0 sees; it was trained at 224")
    batch_size: int = Field(64, ge=1)
    max_images: int | None = Field(None, ge=2, description="cap on images per set; null = all")
    splits: int = Field(10, ge=1, description="splits of the Inception-style score")
    seed: int = Field(0, ge=0, description="shuffling of the score's splits and bootstrap")

    @model_validator(mode="after")
    def _weights(self) -> EvaluateParams:
        if self.extractor == "inception2015" and self.weights is None:
            raise ValueError("extractor inception2015 needs weights: the path of pt_inception-2015-12-05-6726825d.pth")
        return self


class ReportParams(Params):
    """The HTML page."""

    title: str = "Cascaded diffusion: run report"
