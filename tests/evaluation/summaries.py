"""What tests of evaluation share: parameters, images as a source, and summaries of random features."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cdm_kedro.evaluation.collect import Summary, summarize
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.params.evaluation import EvaluateParams

PARAMS = EvaluateParams(input_side=64, batch_size=16, devices=1)


def npz(path: Path, images: np.ndarray) -> NpzSource:
    np.savez(path, images)
    return NpzSource(path)


def summary(count: int, kept: int = 1000, shift: float = 0.0) -> tuple[Summary, np.ndarray]:
    x = np.random.default_rng(count).normal(size=(count, 12)).astype(np.float32) + np.float32(shift)
    return summarize(count, EvaluateParams(kept_features=kept), [(0, x, None)]), x
