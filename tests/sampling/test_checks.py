"""Refusals of models and settings that do not fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_kedro.errors import CdmError
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.checks import check_cascade
from tiny_cascade import BASE, SR, TOP, run, sampling, write_model


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"sr": {"s": 41}}, "trained for s: 0 to 40"),
        ({"top": {"s": 5}}, "trained with augmentation blur"),
        ({"base": {"schedule": "linear"}}, "knows only"),
        ({"base": {"steps": 41}}, "choose 1 to 40"),
        ({"base": {"s": 3}}, "has none"),
        ({"base": {"blur": 0.5}}, "has none"),
        ({"sr": {"blur": 0.5}}, "sr was trained without blur"),
        ({"sr": {"guidance_scale": 2.0}}, "class_dropout"),
        ({"base": {"guidance_scale": 2.0}}, "class_dropout"),
        ({"sr": {"s": "best"}}, "best values of search_truncation"),
        ({"base": {"variance": "large"}}, "the model learned its variances"),
        ({"base": {"conditioning": "train"}}, "has none"),
        ({"base": {"resample_from": 41}}, "trained on 40 steps"),
        ({"sr": {"conditioning": "val", "truncated": False}}, "needs the images val_8"),
    ],
)
def test_impossible_sampling_is_refused_with_its_key(
    models: dict[str, Path], stages: dict[str, Any], message: str
) -> None:
    with pytest.raises(CdmError, match=message) as error:
        run(models, sampling(stages=stages))
    assert f"sample.stages.{next(iter(stages))}" in str(error.value)


def test_models_that_do_not_belong_together_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = {**models, "sr": write_model(tmp_path / "sr.safetensors", SR, data="2" * 64)}
    with pytest.raises(CdmError, match=r"sr\.safetensors was trained on other images.*222222222222, not 1111"):
        Cascade.from_files(other, sampling(), torch.device("cpu"))
    fixed = {**SR, "augmentation": {**SR["augmentation"], "s": 7}}
    models_fixed = {**models, "sr": write_model(tmp_path / "sr.safetensors", fixed)}
    for s in (0, 8):
        with pytest.raises(CdmError, match=rf"sample.stages.sr.s is {s}; sr was trained for s: 7"):
            Cascade.from_files(models_fixed, sampling(stages={"sr": {"s": s}}), torch.device("cpu"))
    bigger = {**models, "base": write_model(tmp_path / "base.safetensors", {**BASE, "resolution": 4})}
    with pytest.raises(CdmError, match="sr was trained on 8-pixel inputs, but base makes 4 pixels"):
        Cascade.from_files(bigger, sampling(), torch.device("cpu"))


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        (
            {"beta_start": 1e-4, "beta_end": 0.02},
            r"begins at .* 0\.6030; training ended at 0\.0065: .* 60% of an image",
        ),
        ({"beta_start": 1e-4, "beta_end": 0.2}, r"begins at .* 0\.0046; training ended at 0\.0065: .* never trained"),
        ({"schedule": "cosine"}, r"begins at .* 0\.0005; training ended at 0\.0065: .* never trained"),
        ({"schedule": "train"}, None),
        ({}, None),
        ({"steps": 4}, None),
        ({"schedule": "log", "beta_start": 1e-6}, None),
    ],
)
def test_a_schedule_that_begins_where_it_should_not_is_warned_of(
    models: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    warning: str | None,
) -> None:
    """The paper's process at 128 and 256 pixels, with 100 linear steps unless the settings say otherwise."""
    diffusion = {"timesteps": 2000, "schedule": "linear", "noise_conditioning": "continuous"}
    paths = {**models, "top": write_model(tmp_path / "top.safetensors", {**TOP, "diffusion": diffusion})}
    params = sampling()
    top = type(params.stages["top"]).model_validate({"steps": 100, "schedule": "linear", **settings})
    check_cascade(paths, params.model_copy(update={"stages": {**params.stages, "top": top}}))
    said = [record.getMessage() for record in caplog.records]
    assert bool(said) == (warning is not None)
    if warning is not None:
        assert re.search(rf"sample\.stages\.top\.schedule \(.*{warning}.*without a beta_end", said[0])


def test_a_training_that_ended_before_noise_is_warned_of(
    models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    diffusion = {**TOP["diffusion"], "beta_end": 0.005}
    paths = {**models, "top": write_model(tmp_path / "top.safetensors", {**TOP, "diffusion": diffusion})}
    check_cascade(paths, sampling(stages={"top": {"schedule": "train", "beta_start": None, "beta_end": None}}))
    (said,) = [record.getMessage() for record in caplog.records]
    assert "26% of an image" in said and "train with a larger diffusion.beta_end" in said
