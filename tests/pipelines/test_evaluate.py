"""The stages reference, evaluate and report as functions, on small files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.data.beton import read_beton
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.pictures import read_caption
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.pipelines.evaluate import evaluate
from cdm_kedro.pipelines.reference import make_reference
from cdm_kedro.pipelines.report import draw_single_images


def test_reference_evaluation_and_pictures(
    tmp_path: Path, betons: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = EvaluateParams(input_side=32, batch_size=8, devices=1)
    names = [f"{split}_{size}" for split in ("train", "val") for size in (32, 64)]
    made = make_reference(params, **{name: betons[name] for name in names})
    train, _ = read_beton(betons["train_64"])
    features, _ = make_extractor(params)(train)
    stored = np.load(made["train_features"])
    assert stored.dtype == np.float16 and stored.shape == (18, 1280)
    np.testing.assert_allclose(stored, features, atol=2e-3, rtol=2e-3)
    samples = {}
    for size in (32, 64):
        images = read_beton(betons[f"train_{size}"])[0][:12]  # copies of training images, of which none is class 2
        samples[f"samples_{size}"] = tmp_path / f"{size}.npz"
        np.savez(samples[f"samples_{size}"], images, np.arange(12) % 2)
    classes = ["a", "b", "c"]
    out = evaluate(params, made["reference"], made["train_features"], classes, **samples)
    found = out["metrics"]["64px"]
    name = "efficientnet_lite0_32px"
    assert out["metrics"]["extractor"]["name"] == name
    expected = frechet_distance(moments(features[:12]), moments(features))
    assert found[f"fd_{name}_train"] == pytest.approx(expected, rel=1e-4)
    assert found["reference_n_train"] == 18 and found["reference_n_val"] == 6
    assert "1 of 3 classes have no sample (class 2…)" in found["note"]
    assert found[f"precision_{name}_train"] == 1  # copies
    memory = out["metrics"]["memorization"]
    assert memory["median_distance_samples_to_train"] < 0.1 * memory["median_distance_val_to_train"]
    pictures = draw_single_images(out["single_images"], samples["samples_64"], betons["train_64"], out["metrics"])
    assert sorted(pictures) == ["neighbours", "realism"]
    for path in pictures.values():
        with Image.open(path) as picture:
            assert picture.width > 400
        assert name in read_caption(path)
    other = EvaluateParams(input_side=64, batch_size=8, devices=1)
    with pytest.raises(ValueError, match=r"reference\.npz was made with efficientnet_lite0_32px .* make it again"):
        evaluate(other, made["reference"], made["train_features"], classes, **samples)
