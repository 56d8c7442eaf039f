from __future__ import annotations

import copy
from typing import Any

import pytest

from cdm_kedro.evaluation.champion import champion_score

NAME = "efficientnet_lite0"


def metrics() -> dict[str, Any]:
    kinds = ("fd", "kd", "precision", "recall")
    scores = {f"{kind}_{NAME}_{split}": 2.0 for kind in kinds for split in ("train", "val")}
    small = {"n": 8, "reference_n_train": 70, "reference_n_val": 60, **scores, f"score_{NAME}": 3.0}
    large = {**small, f"fd_{NAME}_val": 12.5}
    return {
        "extractor": {"name": NAME, "weights_sha256": "ab" * 32, "preprocessing": "p", "dim": 1280},
        "32px": small,
        "256px": large,
        "memorization": {"samples": 8},
    }


METRIC = f"256px.fd_{NAME}_val"
DATA = {"betons": {f"{split}_256": {"sha256": split * 8} for split in ("train", "val")}}


def test_the_largest_size_decides() -> None:
    found = champion_score(metrics(), DATA, "fd_val")
    assert found and (found.metric, found.value, found.higher) == (f"256px.fd_{NAME}_val", 12.5, False)
    canonical = metrics()
    canonical["extractor"]["name"] = "inception2015"
    canonical["256px"]["fid_val"] = 3.0
    assert (champion_score(canonical, DATA, "fd_val") or found).metric == "256px.fid_val"


@pytest.mark.parametrize(
    ("which", "metric", "higher"),
    [
        ("fd_train", f"fd_{NAME}_train", False),
        ("kd_val", f"kd_{NAME}_val", False),
        ("score", f"score_{NAME}", True),
        ("precision_train", f"precision_{NAME}_train", True),
        ("recall_train", f"recall_{NAME}_train", True),
    ],
)
def test_every_metric_that_may_decide(which: str, metric: str, higher: bool) -> None:
    found = champion_score(metrics(), DATA, which)
    assert found and (found.metric, found.higher) == (f"256px.{metric}", higher)
    missing = metrics()
    del missing["256px"][metric]
    assert champion_score(missing, DATA, which) is None


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("256px", "n", 9),
        ("256px", "reference_n_val", 61),
        ("extractor", "weights_sha256", "cd" * 32),
        ("extractor", "preprocessing", "q"),
    ],
)
def test_what_was_measured_in_another_way_does_not_compare(part: str, key: str, value: Any) -> None:
    usual, other = metrics(), metrics()
    other[part][key] = value
    scores = [champion_score(one, DATA, "fd_val") for one in (usual, usual, other)]
    first, same, changed = (score.protocol for score in scores if score)
    assert first == same != changed
    data = copy.deepcopy(DATA)
    data["betons"]["val_256"]["sha256"] = "other images"
    moved = champion_score(usual, data, "fd_val")
    assert moved and moved.protocol != first


@pytest.mark.parametrize(
    ("before", "champion", "which", "said"),
    [
        (None, True, "fd_val", f"version 3 is the champion, the first one scored so: {METRIC} 12.5"),
        (None, False, "fd_val", "12.5; the champion, version 1, was scored otherwise"),
        (14.0, True, "fd_val", f"version 3 beats version 2, the best so far: {METRIC} 12.5 instead of 14 (1.5 better)"),
        (14.0, False, "fd_val", "instead of 14 (1.5 better)"),
        (10.0, False, "fd_val", f"does not beat version 2, the best so far: {METRIC} 12.5 instead of 10 (2.5 worse)"),
        (
            2.0,
            True,
            "score",
            "beats version 2, the best so far: 256px.score_efficientnet_lite0 3 instead of 2 (1 better)",
        ),
    ],
)
def test_how_it_stands_is_said_in_a_sentence(before: float | None, champion: bool, which: str, said: str) -> None:
    score = champion_score(metrics(), DATA, which)
    answer = {"version": "3", "champion": champion, "champion_version": "3" if champion else "1"}
    answer["best_before"] = None if before is None else {"version": "2", "value": before}
    assert score and said in score.standing(answer)
    assert ("is the champion now" in score.standing(answer)) == (champion and before is not None)
