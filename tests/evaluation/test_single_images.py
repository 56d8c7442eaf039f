"""Copies of training images are seen."""

from __future__ import annotations

import numpy as np
import pytest
from summaries import summary

from cdm_kedro.evaluation.collect import summarize
from cdm_kedro.evaluation.evaluate import inspect_single_images
from cdm_kedro.params.evaluation import EvaluateParams


def test_a_model_that_copies_is_seen() -> None:
    train, x = summary(400)
    val, _ = summary(200)
    fresh, _ = summary(100)
    copied = summarize(100, EvaluateParams(), [(0, x[:100] + np.float32(0.01), None)])
    honest, _ = inspect_single_images(fresh, train, val, x.astype(np.float16), 0)
    copying, arrays = inspect_single_images(copied, train, val, x.astype(np.float16), 0)
    ratio = lambda m: m["median_distance_samples_to_train"] / m["median_distance_val_to_train"]  # noqa: E731
    assert ratio(honest) == pytest.approx(1, abs=0.2) and ratio(copying) < 0.1
    assert copying["share_of_samples_nearer_than_nearest_val"] == 1
    assert honest["share_of_samples_nearer_than_nearest_val"] < 0.2
    np.testing.assert_array_equal(arrays["neighbours"][:, 0], arrays["shown"])  # sample i copies training image i
    assert (np.diff(arrays["distances"], axis=1) >= 0).all()
    assert arrays["best_realism"].min() >= arrays["worst_realism"].max()
