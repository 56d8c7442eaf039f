"""Typed parameters: the only place that turns raw YAML into values the code uses."""

from cdm_kedro.params.data import RESOLUTIONS, EmbeddedParams, PreprocessParams
from cdm_kedro.params.evaluation import EvaluateParams, ReportParams
from cdm_kedro.params.sampling import SampleParams, StageSamplingParams
from cdm_kedro.params.stage import (
    AugmentationParams,
    BlurAugmentation,
    DiffusionParams,
    GaussianAugmentation,
    NoAugmentation,
    StageParams,
    TrainingParams,
    UNetParams,
)

__all__ = [
    "RESOLUTIONS",
    "AugmentationParams",
    "BlurAugmentation",
    "DiffusionParams",
    "EmbeddedParams",
    "EvaluateParams",
    "GaussianAugmentation",
    "NoAugmentation",
    "PreprocessParams",
    "ReportParams",
    "SampleParams",
    "StageParams",
    "StageSamplingParams",
    "TrainingParams",
    "UNetParams",
]
