"""The single model's training compute, and parameters with which the claim cannot be tested."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cdm_kedro.model.build import build_unet
from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams
from cdm_kedro.params.files import read_parameters
from cdm_kedro.pipelines.claim.budget import match_compute
from project import ROOT


def claim_parameters() -> dict[str, Any]:
    values, _ = read_parameters(ROOT / "conf", "claim")
    return copy.deepcopy({key: values[key] for key in ("claim", "base16", "sr32")})


def budget(values: dict[str, Any]) -> dict[str, Any]:
    claim = values["claim"]
    sweep, baseline = ClaimSweepParams.model_validate(claim["sweep"]), BaselineParams.model_validate(claim["baseline"])
    return match_compute(["class"] * 10, baseline, sweep, base16=values["base16"], sr32=values["sr32"])


def test_the_single_model_has_the_cascades_compute() -> None:
    """Three times the forward operations an image, counted apart by torch on a real evaluation."""
    values = claim_parameters()
    found = budget(values)
    assert found["ratio"] == pytest.approx(1, abs=1e-3)
    params = BaselineParams.model_validate(values["claim"]["baseline"]).trained_for(1)
    net = build_unet(params, 10).eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(2, 3, 32, 32), torch.zeros(2), torch.zeros(2, dtype=torch.int64))
    images = found["steps"] * params.training.batch_size
    assert found["models"]["claim_baseline"]["training_flops"] == 3 * images * counter.get_total_flops() / 2
    share = found["models"]["sr32"]["training_flops"] / sum(
        found["models"][name]["training_flops"] for name in ("base16", "sr32")
    )
    values["sr32"]["training"]["steps"] *= 2
    assert budget(values)["steps"] == pytest.approx(found["steps"] * (1 + share), abs=1)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("sr32", "augmentation", "max_s"), 1500, r"claim.sweep.s holds 2001; sr32 is trained for s up to 1500"),
        (("sr32", "augmentation"), {"kind": "blur"}, "sr32.augmentation must be gaussian without a fixed s"),
        (("sr32", "augmentation"), {"kind": "gaussian", "timesteps": 4000, "s": 2001}, "without a fixed s"),
        (("base16", "training", "selection"), {"every": 10}, "base16.training.selection must be null"),
        (("claim", "baseline", "training", "selection"), {"every": 10}, "selection"),
        (("claim", "baseline", "training", "steps"), 10, "steps"),
        (("claim", "baseline", "low"), "base16", "one model without a cascade"),
        (("claim", "sweep", "select"), "val", "distance to training images"),
        (("claim", "sweep", "seed"), 3, "claim.seeds says"),
        (("claim", "sweep", "modes"), ["truncated", "train"], "must hold truncated, non_truncated"),
        (("claim", "sweep", "s"), [0, 101], "at least two more"),
    ],
)
def test_what_cannot_be_claimed_is_refused(keys: tuple[str, ...], value: Any, message: str) -> None:
    values = claim_parameters()
    place = values
    for key in keys[:-1]:
        place = place[key]
    if keys[-1] == "low":
        place["low_resolution"] = 16
    place[keys[-1]] = value
    with pytest.raises(ValueError, match=message):
        budget(values)
