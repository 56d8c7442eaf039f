"""The metrics of one set of samples: their names, their uncertainty, and what makes them doubtful."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from summaries import PARAMS, npz

from cdm_kedro.evaluation.collect import Reference, collect, summarize
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.scoring import score
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.params.evaluation import EvaluateParams


def test_scores_name_the_extractor_and_state_what_is_doubtful(
    tmp_path: Path, pictures: np.ndarray, extractor: Extractor
) -> None:
    summary = collect(npz(tmp_path / "a.npz", pictures[:50]), extractor, PARAMS, "a")
    other = collect(npz(tmp_path / "b.npz", pictures[50:]), extractor, PARAMS, "b")
    only_moments = Reference(other.moments, None, None)
    found = score(summary, {"train": other, "val": only_moments}, extractor.name)
    name = "efficientnet_lite0_64px"
    assert found["n"] == 50 and found["reference_n_train"] == 50
    assert found[f"fd_{name}_train"] == found[f"fd_{name}_val"] == frechet_distance(summary.moments, other.moments)
    assert found[f"kd_{name}_train_se"] > 0 and f"kd_{name}_val" not in found  # statistics without features
    assert 0 <= found[f"precision_{name}_train"] <= 1 and 0 <= found[f"recall_{name}_train"] <= 1
    assert found[f"score_{name}"] > 1 and found[f"score_{name}_std"] > 0
    assert "50 samples; published numbers use 50000" in found["note"]
    assert "Not more samples than the 1280 feature dimensions: the covariance is singular" in found["note"]
    canonical = score(summary, {"": other}, "inception2015")
    assert {"fid", "fid_std", "inception_score", "precision", "recall"} <= set(canonical)


def test_spread_of_quarters_is_the_distances_standard_deviation() -> None:
    """Against 150 repetitions, over features of few dimensions."""
    rng = np.random.default_rng(0)
    real = Reference(moments(rng.normal(size=(20_000, 6))), None, None)
    values, spreads = [], []
    for _ in range(150):
        x = (rng.normal(size=(800, 6)) * 1.2 + 0.5).astype(np.float32)
        found = score(summarize(800, EvaluateParams(kept_features=10), [(0, x, None)]), {"": real}, "x")
        values.append(found["fd_x"])
        spreads.append(found["fd_x_std"] ** 2)
    assert np.sqrt(np.mean(spreads)) == pytest.approx(np.std(values), rel=0.25)
