"""Mistakes in the words of the YAML files: key, value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from cdm_kedro.params.cascade import CascadeParams
from cdm_kedro.params.explain import mistakes, not_a_key, refused_by_kedro
from cdm_kedro.params.model import GaussianAugmentation, TrainedModelParams
from cdm_kedro.params.sampling import SampleParams

MODEL = {
    "resolution": 32,
    "unet": {"channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1},
    "diffusion": {"timesteps": 10, "schedule": "cosine"},
    "training": {"steps": 1, "batch_size": 1},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"resolution": None}, ["m.resolution is None: Input should be a valid integer"]),
        ({"unet": None}, ["m.unet is None: Input should be a valid dictionary or instance of UNetParams"]),
        ({"augmentation": {"kind": "blurr"}}, ["m.augmentation: Input tag 'blurr' found using 'kind' does not match"]),
        (
            {"augmentation": {"kind": "gaussian", "maxs": 1}},
            ["m.augmentation.timesteps is missing", "m.augmentation.maxs is not a key; did you mean max_s? Known are "],
        ),
        (
            {"lo": "x"},
            ["m.lo is not a key; did you mean low? Known are augmentation, diffusion, low, low_resolution, "],
        ),
        ({"training": {"steps": 0}}, ["m.training.steps is 0: ", "m.training.batch_size is missing"]),
    ],
)
def test_every_mistake_is_a_line(changes: dict[str, Any], said: list[str]) -> None:
    found = mistakes("m", TrainedModelParams, {**MODEL, **changes})
    assert len(found) == len(said) and all(line.startswith(start) for line, start in zip(found, said, strict=True))


def test_a_missing_value_and_a_simple_type() -> None:
    assert mistakes("sample", SampleParams, None) == ["sample is missing"]
    assert mistakes("cas.resolutions", tuple[int, ...], [32, "x"])[0].startswith("cas.resolutions.1 is 'x': ")
    assert mistakes("cascade", CascadeParams, {"stages": ["a", "a"]}) == [
        "cascade.stages is ['a', 'a']: the values must be without repetition"
    ]


def test_a_similar_key_is_proposed() -> None:
    assert not_a_key("a.b.colour", ("color", "size")) == (
        "a.b.colour is not a key; did you mean color? Known are color, size"
    )
    assert not_a_key("zzz", ("color",)) == "zzz is not a key. Known are color"


def test_kedros_complaint_is_understood() -> None:
    message = "Failed to instantiate GaussianAugmentation for parameter 'sr64.augmentation': 1 error\n"
    message += "Failed to instantiate Unknown for parameter 'x': ..."
    kinds = refused_by_kedro(message)
    assert kinds["sr64.augmentation"] is GaussianAugmentation and mistakes("x", kinds["x"], object()) == []
