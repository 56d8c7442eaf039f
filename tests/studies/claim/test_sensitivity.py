"""What an extractor notices, against closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.studies.claim.sensitivity import sensitivity, without_class
from cdm_kedro.tracking.scratch import VARIABLE


class Pixels:
    """Smooth random images with labels."""

    path, count = Path("pixels"), 400
    labels = np.arange(400) % 4

    def __init__(self, seed: int) -> None:
        self.images = np.random.default_rng(seed).integers(90, 166, (self.count, 8, 8, 3), np.uint8)

    def read(self, indices: Any) -> Any:
        return self.images[np.asarray(indices)]


@pytest.mark.parametrize("kept", [False, True])
def test_what_an_extractor_notices(kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channel means notice colour shifts as their closed form says, and neither blur nor noise of mean 0.

    In a stage's run features are kept, and those of spoiled images are not taken for those of sound ones.
    """
    monkeypatch.setenv(VARIABLE, str(tmp_path)) if kept else monkeypatch.delenv(VARIABLE, raising=False)
    params = EvaluateParams(batch_size=37, splits=1, kept_features=10)

    def means(x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return x.mean((2, 3)), None

    extractor = Extractor("means", means, 3, "", "", torch.device("cpu"))
    train, val = Pixels(0), Pixels(1)
    features = [source.images.astype(np.float64).mean((1, 2)) for source in (train, val)]
    found = sensitivity(val, moments(features[0]), extractor, params)
    assert found["sound"] == pytest.approx(frechet_distance(moments(features[1]), moments(features[0])), rel=1e-6)
    for std in (8, 20):
        shifts = np.stack([np.random.default_rng([2, i]).normal(0, std, 3) for i in range(val.count)])
        expected = frechet_distance(moments(features[1] + shifts), moments(features[0])) / found["sound"]
        assert found[f"colour shift of {std} levels"] == pytest.approx(expected, rel=0.02) and expected > 20
    for name in ("blur of 0.5 px", "noise of 8 levels", "one class missing"):
        assert found[name] < 2
    spoiled = without_class(val, 2)
    places = [int(np.flatnonzero((val.images == image).all((1, 2, 3)))[0]) for image in spoiled.read(range(400))]
    assert 2 not in val.labels[places] and [i for i in range(400) if val.labels[i] != 2] == [
        place for i, place in enumerate(places) if val.labels[i] != 2
    ]
