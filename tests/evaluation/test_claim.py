"""The claim's statements against the paper's own tables and constructed curves, and the classifier as an extractor."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils.flop_counter import FlopCounterMode

from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.paper_ablations import TABLE_2A, TABLE_2B, TABLE_3
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.model.build import build_unet
from cdm_kedro.model.resnet import ResNet
from cdm_kedro.model.weights import write_weights
from cdm_kedro.params.claim import BaselineParams, ClaimSweepParams
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.files import read_parameters
from cdm_kedro.pipelines.claim.budget import match_compute
from cdm_kedro.studies.claim.page import DISAGREE, across
from cdm_kedro.studies.claim.sensitivity import WithoutClass, sensitivity
from cdm_kedro.studies.claim.statements import MARGIN, Scores, agreement, interval, judge
from cdm_kedro.studies.claim.table import average

Row = dict[str, Any]


def verdicts(rows: list[Row], exact: bool = False) -> dict[str, str]:
    return {judged.key: judged.verdict for judged in judge(Scores(rows, "fd", exact))}


def published(table: dict[str, dict[int, Any]], column: int) -> list[Row]:
    return [
        {"seed": 0, "conditioning": mode, "s": s, "fd": numbers[column]}
        for mode, points in table.items()
        for s, numbers in points.items()
    ]


def test_the_papers_own_tables_bear_out_its_statements() -> None:
    assert verdicts(published(TABLE_3, 0), exact=True) == {"i": "holds", "ii": "holds", "iii": "holds", "iv": "holds"}
    noised = {s: TABLE_2B[s] for s in (101, 1001)}
    two_b = {
        "none": {0: TABLE_2B[0]},
        "truncated": noised,
        "non_truncated": noised,
        "single": {0: TABLE_2A["more sampling steps"]},
        "train": TABLE_3["train"],
    }
    found = {judged.key: judged for judged in judge(Scores(published(two_b, 0), "fd", exact=True))}
    assert found["i"].verdict == found["v"].verdict == "holds"
    # Table 2b ends at its best s, so it does not show the degradation.
    assert found["ii"].verdict == "does not hold"
    # "The FID score, for example, degrades from 2.35 to 6.02": without augmentation the single model is better.
    assert found["v"].beside[0].value.mean == pytest.approx(2.35 - 6.02)
    # At s = 101 alone the cascade is "still worse than the non-cascaded baseline".
    without = [row for row in published(two_b, 0) if row["s"] != 1001]
    weak = [{**row, "s": 1001, "fd": row["fd"] + 1} for row in without if row["s"] == 101]
    assert verdicts(without + weak, exact=True)["v"] == "does not hold"


def test_one_seed_decides_nothing() -> None:
    assert set(verdicts(published(TABLE_3, 0)).values()) == {"undecided"}


def curves(rng: np.random.Generator, seeds: int, noise: float, **by_mode: dict[int, float]) -> list[Row]:
    """Rows with noise that a seed's points share, and a little of their own."""
    rows = []
    for seed in range(seeds):
        shared = rng.normal() * 20 * noise
        for mode, points in by_mode.items():
            for s, value in points.items():
                rows.append(
                    {"seed": seed, "conditioning": mode, "s": s, "fd": value + shared + rng.normal() * noise, "n": 9}
                )
    return rows


U = {100: 80.0, 200: 60.0, 300: 90.0}
RISING = {0: 20.0, 100: 30.0, 200: 40.0, 300: 50.0}
NONE = {0: 100.0}


def test_clear_curves_are_told_whatever_the_seeds_share() -> None:
    rng = np.random.default_rng(0)
    good = curves(rng, 4, 0.2, none=NONE, truncated=U, non_truncated=U, train=RISING, single={0: 70})
    assert set(verdicts(good).values()) == {"holds"}
    rising = {100: 130.0, 200: 140.0, 300: 150.0}
    falling = {s: -v for s, v in RISING.items()}
    bad = curves(rng, 4, 0.2, none=NONE, truncated=rising, non_truncated=rising, train=falling, single={0: 70})
    # (iv) asks whether both ways gain alike; where s gains nothing the question is void.
    assert verdicts(bad) == {
        "i": "does not hold",
        "ii": "does not hold",
        "iii": "does not hold",
        "iv": "undecided",
        "v": "does not hold",
    }


def test_improvement_without_degradation_is_no_turn() -> None:
    rng = np.random.default_rng(6)
    improving = {100: 90.0, 200: 80.0, 300: 50.0}
    rows = curves(rng, 4, 0.2, none=NONE, truncated=improving, non_truncated=improving, train=RISING)
    assert verdicts(rows)["ii"] == "does not hold" and verdicts(rows)["i"] == "holds"


def test_both_ways_are_compared_at_their_own_best_s() -> None:
    rng = np.random.default_rng(7)
    shifted = {100: 60.0, 200: 80.0, 300: 90.0}  # the same best at another s
    rows = curves(rng, 4, 0.2, none=NONE, truncated=U, non_truncated=shifted, train=RISING)
    assert verdicts(rows)["iv"] == "holds"
    weaker = {s: 100 - (100 - v) / 3 for s, v in U.items()}  # a third of the gain
    rows = curves(rng, 4, 0.2, none=NONE, truncated=U, non_truncated=weaker, train=RISING)
    assert verdicts(rows)["iv"] == "does not hold"
    assert MARGIN == 0.25


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_best_of_many_equal_points_is_not_called_better(seeds: int) -> None:
    """Where s has no effect, the choice among 20 points makes (i) hold in 2.5 % of cases at most."""
    rng, trials = np.random.default_rng(2), 1500
    flat = dict.fromkeys(range(1, 11), 100.0)
    held = lucky = 0
    for _ in range(trials):
        scores = Scores(curves(rng, seeds, 1.0, none=NONE, truncated=flat, non_truncated=flat, val=RISING), "fd")
        held += judge(scores)[0].verdict == "holds"
        table = np.concatenate([scores.curve(mode)[1][1:] for mode in ("truncated", "non_truncated")])
        lucky += interval(scores.points["none", 0] - table[table.mean(1).argmin()]).low > 0
    assert held / trials <= 0.025
    assert lucky / trials > 0.05  # what a choice on the same seeds, at 95 %, would do


def test_equal_steps_are_seldom_called_a_fall() -> None:
    """Where real conditioning shows no trend, one of six steps looks like a fall in 5 % of cases at most."""
    rng, trials, level = np.random.default_rng(8), 1500, dict.fromkeys((0, *range(1, 7)), 50.0)
    refuted = uncorrected = 0
    for _ in range(trials):
        scores = Scores(curves(rng, 3, 1.0, none=NONE, truncated=U, non_truncated=U, val=level), "fd")
        statement = judge(scores)[2]
        refuted += statement.verdict == "does not hold"
        uncorrected += any(d.value.high < 0 for d in statement.differences)
    assert refuted / trials <= 0.05 < uncorrected / trials


def test_intervals_are_students() -> None:
    values = [3.1, 2.7, 3.9, 3.3]
    found = interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert interval([2.0]).mean == 2.0 and interval([2.0]).high == float("inf")


def test_a_point_that_a_seed_lacks_is_refused() -> None:
    rows = curves(np.random.default_rng(3), 2, 0.1, none={0: 1}, truncated=U, non_truncated=U, val=RISING)
    with pytest.raises(ValueError, match=r"val at s = 300 was scored with seeds \[0\], not \[0, 1\]"):
        Scores(rows[:-1], "fd")


def test_extractors_that_contradict_each_other_are_named() -> None:
    rng = np.random.default_rng(4)
    up = {s: 200.0 - v for s, v in U.items()}
    one, other = (
        judge(Scores(curves(rng, 3, 0.1, none=NONE, truncated=t, non_truncated=t, val=RISING), "fd")) for t in (U, up)
    )
    found = {statement["key"]: statement["verdict"] for statement in across({"one": one, "other": other})}
    assert found["i"] == DISAGREE and found["iii"] == "holds"
    alike = agreement(*(Scores(curves(rng, 3, 0.1, none=NONE, truncated=t, non_truncated=t), "fd") for t in (U, U)))
    assert alike["alike"] == 1.0 and alike["spearman"] == pytest.approx(1, abs=0.1)
    alike = agreement(
        *(Scores(curves(rng, 3, 0.1, none={0: n}, truncated=t, non_truncated=t), "fd") for n, t in ((100, U), (0, up)))
    )
    assert alike["alike"] == 0.0


def test_the_table_stands_beside_the_papers() -> None:
    rows = curves(
        np.random.default_rng(5), 3, 0.1, none={0: 9}, non_truncated={101: 5, 251: 6}, train={251: 3}, single={0: 8}
    )
    table = {(row["conditioning"], row["s"]): row for row in average(rows, ["fd"])}
    assert list(table) == [("none", 0), ("non_truncated", 101), ("non_truncated", 251), ("train", 251), ("single", 0)]
    assert table["none", 0]["paper_table3_fid_train"] == 1.71 and table["none", 0]["paper_table2_fid_train"] == 6.02
    assert table["non_truncated", 101]["paper_table2_fid_train"] == 3.41
    assert "paper_table3_fid_train" not in table["non_truncated", 101]
    assert table["train", 251]["paper_table3_fid_val"] == 1.85 and table["single", 0]["paper_table2_fid_train"] == 2.35
    own = [row["fd"] for row in rows if row["conditioning"] == "train"]
    assert table["train", 251]["fd"] == pytest.approx(np.mean(own))
    low, _ = stats.t.interval(0.95, 2, np.mean(own), stats.sem(own))
    assert table["train", 251]["fd_ci95"] == pytest.approx(np.mean(own) - low)


def claim_parameters() -> dict[str, Any]:
    values, _ = read_parameters(Path(__file__).resolve().parents[2] / "conf", "claim")
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


class Pixels:
    """Smooth random images with labels."""

    path, count = Path("pixels"), 400
    labels = np.arange(400) % 4

    def __init__(self, seed: int) -> None:
        self.images = np.random.default_rng(seed).integers(90, 166, (self.count, 8, 8, 3), np.uint8)

    def read(self, indices: Any) -> Any:
        return self.images[np.asarray(indices)]


def test_what_an_extractor_notices() -> None:
    """Channel means notice colour shifts as their closed form says, and neither blur nor noise of mean 0."""
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
    spoiled = WithoutClass(val, 2)
    places = [int(np.flatnonzero((val.images == image).all((1, 2, 3)))[0]) for image in spoiled.read(range(400))]
    assert 2 not in val.labels[places] and [i for i in range(400) if val.labels[i] != 2] == [
        place for i, place in enumerate(places) if val.labels[i] != 2
    ]


def test_a_trained_classifier_is_an_extractor(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ResNet(18, 5, 32, 8).eval()
    path = tmp_path / "classifier.safetensors"
    write_weights(path, net.state_dict(), {"depth": "18", "width": "8", "num_classes": "5", "resolution": "32"})
    extractor = classifier_extractor(path, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    features, logits = extractor(images)
    assert features.shape == (4, 64) == (4, extractor.dim) and logits is not None
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        np.testing.assert_allclose(logits, net(x).numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(features @ net.head.weight.numpy().T + net.head.bias.numpy(), logits, atol=1e-4)
    write_weights(path, net.state_dict(), {})
    with pytest.raises(ValueError, match="does not say the sizes"):
        classifier_extractor(path)
