"""Refusals of models and settings that do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.checks import CascadeError
from tiny_cascade import BASE, SR, run, sampling, write_model


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"sr": {"s": 41}}, "trained for s: 0 to 40"),
        ({"top": {"s": 5}}, "trained with augmentation blur"),
        ({"base": {"schedule": "linear"}}, "knows only"),
        ({"base": {"steps": 41}}, "choose 1 to 40"),
        ({"base": {"s": 3}}, "has none"),
        ({"sr": {"guidance_scale": 2.0}}, "class_dropout"),
        ({"base": {"guidance_scale": 2.0}}, "class_dropout"),
        ({"sr": {"s": "best"}}, "best values of search_truncation"),
        ({"base": {"conditioning": "train"}}, "has none"),
        ({"base": {"resample_from": 41}}, "trained on 40 steps"),
        ({"sr": {"conditioning": "val", "truncated": False}}, "needs the images val_8"),
    ],
)
def test_impossible_sampling_is_refused_with_its_key(
    models: dict[str, Path], stages: dict[str, Any], message: str
) -> None:
    with pytest.raises(CascadeError, match=message) as error:
        run(models, sampling(stages=stages))
    assert f"sample.stages.{next(iter(stages))}" in str(error.value)


def test_models_that_do_not_belong_together_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = {**models, "sr": write_model(tmp_path / "sr.safetensors", SR, data="2" * 64)}
    with pytest.raises(CascadeError, match=r"sr\.safetensors was trained on other images.*222222222222, not 1111"):
        Cascade.from_files(other, sampling(), torch.device("cpu"))
    fixed = {**SR, "augmentation": {**SR["augmentation"], "s": 7}}
    models_fixed = {**models, "sr": write_model(tmp_path / "sr.safetensors", fixed)}
    for s in (0, 8):
        with pytest.raises(CascadeError, match=rf"sample.stages.sr.s is {s}; sr was trained for s: 7"):
            Cascade.from_files(models_fixed, sampling(stages={"sr": {"s": s}}), torch.device("cpu"))
    bigger = {**models, "base": write_model(tmp_path / "base.safetensors", {**BASE, "resolution": 4})}
    with pytest.raises(CascadeError, match="sr was trained on 8-pixel inputs, but base makes 4 pixels"):
        Cascade.from_files(bigger, sampling(), torch.device("cpu"))
