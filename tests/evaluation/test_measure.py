"""One pass over a source: streaming equals batch, several processes equal one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_kedro.data.embedded.drawings import CLASSES
from cdm_kedro.data.embedded.generate import render
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.measure import Collector, Summary, measure
from cdm_kedro.evaluation.reference import Reference
from cdm_kedro.evaluation.scoring import absent_classes, score
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.params.evaluation import EvaluateParams

PARAMS = EvaluateParams(input_side=64, batch_size=16, devices=1)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([render(name, "train", i, 64, 0) for i in range(10) for name in CLASSES])


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return make_extractor(PARAMS)


def npz(path: Path, images: np.ndarray) -> NpzSource:
    np.savez(path, images)
    return NpzSource(path)


def same(a: Summary, b: Summary) -> None:
    assert a.n == b.n
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.features, b.features, atol=1e-4)
    for p, q in zip((a.moments, *a.quarters), (b.moments, *b.quarters), strict=True):
        np.testing.assert_allclose(p.mu, q.mu, atol=1e-4)
        np.testing.assert_allclose(p.covariance(), q.covariance(), atol=1e-4)
    assert a.class_score == pytest.approx(b.class_score, rel=1e-4)


def test_streaming_equals_batch(tmp_path: Path, pictures: np.ndarray, extractor: Extractor) -> None:
    images = pictures[:50]
    source = npz(tmp_path / "a.npz", images)
    got = measure(source, extractor, PARAMS.model_copy(update={"kept_features": 20, "batch_size": 7}), "test")
    features, logits = extractor(images)
    whole = moments(features)
    np.testing.assert_allclose(got.moments.mu, whole.mu, atol=1e-4)
    np.testing.assert_allclose(got.moments.covariance(), whole.covariance(), atol=1e-4)
    assert got.n == 50 and len(got.indices) == 20 and sorted({*got.indices.tolist()}) == got.indices.tolist()
    np.testing.assert_allclose(got.features, features[got.indices], atol=1e-4)
    assert logits is not None
    collector = Collector(50, PARAMS.model_copy(update={"kept_features": 20}))
    for first in (30, 0):  # in any order
        part = slice(first, first + 30) if first == 0 else slice(30, 50)
        collector.add(first, features[part], logits[part])
    same(got, collector.summary())
    assert sum(quarter.n or 0 for quarter in got.quarters) == 50


def test_two_processes_equal_one(tmp_path: Path, pictures: np.ndarray, extractor: Extractor) -> None:
    source = npz(tmp_path / "a.npz", pictures[:32])
    one = measure(source, extractor, PARAMS, "one")
    same(one, measure(source, extractor, PARAMS.model_copy(update={"devices": 2}), "two"))


def test_scores_name_the_extractor_and_state_what_is_doubtful(
    tmp_path: Path, pictures: np.ndarray, extractor: Extractor
) -> None:
    summary = measure(npz(tmp_path / "a.npz", pictures[:50]), extractor, PARAMS, "a")
    other = measure(npz(tmp_path / "b.npz", pictures[50:]), extractor, PARAMS, "b")
    reference = Reference(other.moments, other.features, other.indices)
    found = score(summary, {"train": reference, "val": Reference(other.moments)}, extractor.name)
    name = "efficientnet_lite0_64px"
    assert found["n"] == 50 and found["reference_n_train"] == 50
    assert found[f"fd_{name}_train"] == found[f"fd_{name}_val"] == frechet_distance(summary.moments, other.moments)
    assert found[f"kd_{name}_train_se"] > 0 and f"kd_{name}_val" not in found  # statistics without features
    assert 0 <= found[f"precision_{name}_train"] <= 1 and 0 <= found[f"recall_{name}_train"] <= 1
    assert found[f"score_{name}"] > 1 and found[f"score_{name}_std"] > 0
    assert "50 samples; published numbers use 50000" in found["note"]
    assert "Not more samples than the 1280 feature dimensions: the covariance is singular" in found["note"]
    canonical = score(summary, {"": reference}, "inception2015")
    assert {"fid", "fid_std", "inception_score", "precision", "recall"} <= set(canonical)
    assert absent_classes(np.array([0, 2, 2]), 5) == "3 of 5 classes have no sample (class 1, 3, 4…)"
    assert absent_classes(np.arange(5), 5) is None and absent_classes(None, 5) is None


def test_spread_of_quarters_is_the_distances_standard_deviation() -> None:
    """Against 150 repetitions, over features of few dimensions."""
    rng = np.random.default_rng(0)
    real = Reference(moments(rng.normal(size=(20_000, 6))))
    values, spreads = [], []
    for _ in range(150):
        collector = Collector(800, EvaluateParams(kept_features=10))
        collector.add(0, (rng.normal(size=(800, 6)) * 1.2 + 0.5).astype(np.float32), None)
        found = score(collector.summary(), {"": real}, "x")
        values.append(found["fd_x"])
        spreads.append(found["fd_x_std"] ** 2)
    assert np.sqrt(np.mean(spreads)) == pytest.approx(np.std(values), rel=0.25)


def test_extractor_recognizes_and_refuses(tmp_path: Path, pictures: np.ndarray, extractor: Extractor) -> None:
    big = np.stack([render("balloon", "val", i, 256, 0) for i in range(4)])
    _, logits = make_extractor(EvaluateParams())(big)
    assert logits is not None and (logits.argmax(1) == 417).any()  # ImageNet's class "balloon"
    with pytest.raises(ValueError, match="uint8"):
        extractor(pictures[:2].astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"a\.npz: 3 image\(s\) are too few to score; at least 4"):
        measure(npz(tmp_path / "a.npz", pictures[:3]), extractor, PARAMS, "test")
    with pytest.raises(ValueError, match=r"needs weights: the path of pt_inception-2015-12-05-6726825d\.pth"):
        EvaluateParams(extractor="inception2015")
    with pytest.raises(ValueError, match="100 is not divisible by DINOv2's patch of 14"):
        EvaluateParams(extractor="dinov2_vitl14", weights="w", input_side=100)


def test_damaged_weights_do_not_become_numbers(tmp_path: Path, pictures: np.ndarray) -> None:
    broken = lambda x: (torch.full((len(x), 8), torch.nan), None)  # noqa: E731
    extractor = Extractor("broken", broken, 8, "0" * 64, "none", torch.device("cpu"))
    with pytest.raises(ValueError, match="NaN or infinity; the images or the extractor's weights are damaged"):
        measure(npz(tmp_path / "a.npz", pictures[:8]), extractor, PARAMS, "test")


def test_networks_run_by_cudnn_in_full_precision() -> None:
    seen = []

    def net(x: torch.Tensor) -> tuple[torch.Tensor, None]:
        seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32, x.dtype, x.max().item()))
        return x.mean((2, 3)), None

    Extractor("probe", net, 3, "0" * 64, "none", torch.device("cpu"))(np.full((1, 8, 8, 3), 255, np.uint8))
    assert seen == [(True, False, torch.float32, 255.0)]
