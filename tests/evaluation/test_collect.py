"""One pass over a source: streaming equals batch, several processes equal one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from summaries import PARAMS, npz

from cdm_kedro.evaluation.collect import Summary, collect, summarize
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.statistics import moments


def same(a: Summary, b: Summary) -> None:
    assert a.n == b.n
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.features, b.features, atol=1e-4)
    for p, q in zip((a.moments, *a.quarters), (b.moments, *b.quarters), strict=True):
        np.testing.assert_allclose(p.mu, q.mu, atol=1e-4)
        np.testing.assert_allclose(p.covariance(), q.covariance(), atol=1e-4)
    assert a.inception_score == pytest.approx(b.inception_score, rel=1e-4)


def test_streaming_equals_batch(tmp_path: Path, pictures: np.ndarray, extractor: Extractor) -> None:
    images = pictures[:50]
    source = npz(tmp_path / "a.npz", images)
    got = collect(source, extractor, PARAMS.model_copy(update={"kept_features": 20, "batch_size": 7}), "test")
    features, logits = extractor(images)
    whole = moments(features)
    np.testing.assert_allclose(got.moments.mu, whole.mu, atol=1e-4)
    np.testing.assert_allclose(got.moments.covariance(), whole.covariance(), atol=1e-4)
    assert got.n == 50 and len(got.indices) == 20 and sorted({*got.indices.tolist()}) == got.indices.tolist()
    np.testing.assert_allclose(got.features, features[got.indices], atol=1e-4)
    assert logits is not None
    batches = [(30, features[30:], logits[30:]), (0, features[:30], logits[:30])]  # in any order
    same(got, summarize(50, PARAMS.model_copy(update={"kept_features": 20}), batches))
    assert sum(quarter.n or 0 for quarter in got.quarters) == 50


def test_two_processes_equal_one(tmp_path: Path, pictures: np.ndarray, extractor: Extractor) -> None:
    source = npz(tmp_path / "a.npz", pictures[:32])
    one = collect(source, extractor, PARAMS, "one")
    same(one, collect(source, extractor, PARAMS.model_copy(update={"devices": 2}), "two"))


def test_damaged_weights_do_not_become_numbers(tmp_path: Path, pictures: np.ndarray) -> None:
    broken = lambda x: (torch.full((len(x), 8), torch.nan), None)  # noqa: E731
    extractor = Extractor("broken", broken, 8, "0" * 64, "none", torch.device("cpu"))
    with pytest.raises(ValueError, match="NaN or infinity; the images or the extractor's weights are damaged"):
        collect(npz(tmp_path / "a.npz", pictures[:8]), extractor, PARAMS, "test")
