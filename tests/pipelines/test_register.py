"""The registration node on a tiny cascade, with a store of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.pipelines.register import register_cascade
from cdm_kedro.tracking.runs import Tracking
from tiny_cascade import CASCADE, sampling, write_model

CLASSES = ["cat", "dog", "eel", "fox"]
FD = "fd_efficientnet_lite0_val"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE", "CDM_SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tracking(root: Path) -> Iterator[Tracking]:
    found = Tracking(root, "cascade", "test")
    yield found
    found.close("FINISHED")


def inputs(folder: Path, fd: float, seed: int = 0) -> dict[str, Any]:
    folder.mkdir()
    weights = {name: write_model(folder / f"{name}.safetensors", raw, seed) for name, raw in CASCADE.items()}
    cards = {
        name: {"parameters": 1e6, "steps": 10, "images_seen": 80, "params": {"low_resolution": None, **raw}}
        for name, raw in CASCADE.items()
    }
    scores = {"n": 8, "reference_n_train": 70, "reference_n_val": 60, FD: fd, "fd_efficientnet_lite0_train": 3.0}
    extractor = {"name": "efficientnet_lite0", "weights_sha256": "ab", "preprocessing": "p", "dim": 4}
    source = {"images": {"train": 10, "val": 4}, "listing_sha256": "c" * 64}
    return {
        "params": EvaluateParams(),
        "metrics": {"extractor": extractor, "8px": scores, "16px": scores, "32px": scores},
        "data_card": {"classes": 4, "source": source, "betons": {f"{s}_32": {"sha256": s} for s in ("train", "val")}},
        "sampling": {"params": sampling().model_dump(mode="json")},
        "classes": CLASSES,
        **{f"{name}_model": path for name, path in weights.items()},
        **{f"{name}_card": card for name, card in cards.items()},
    }


def run(tracking: Tracking, values: dict[str, Any]) -> dict[str, Any]:
    with tracking.stage("register", "key", ["never run"], {}):
        return register_cascade(**values)


def test_cascades_compete_and_keep_their_weights(
    root: Path, tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cdm_kedro.pipelines"):
        first = run(tracking, inputs(root / "a", 9.0, seed=1))
        second = run(tracking, inputs(root / "b", 7.0, seed=2))
    assert (first["version"], second["version"]) == ("1", "2") and first["metric"] == f"32px.{FD}"
    assert second["said"] in caplog.text and "beats version 1" in second["said"] and "(2 better)" in second["said"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    champion = client.get_model_version_by_alias("cdm-kedro-cascade", "champion")
    assert int(champion.version) == 2
    assert (champion.tags["n"], champion.tags["size"], champion.tags["extractor.name"]) == (
        "8",
        "32",
        "efficientnet_lite0",
    )
    assert champion.tags["data.val"] == "val"
    card = champion.description
    assert "| sr | 8 → 16 |" in card and "10, truncated" in card and "7.000" in card and "Apache-2.0" in card
    assert "cat, dog, eel, fox" in card and "models:/cdm-kedro-cascade@champion" in card and len(card) < 5000
    code = (
        "import sys, mlflow, pandas as pd\n"
        "images = [mlflow.pyfunc.load_model(f'models:/cdm-kedro-cascade/{version}').predict("
        "pd.DataFrame({'class': ['eel']})).image[0] for version in (1, 2)]\n"
        "assert images[0] != images[1]\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd="/",
        env={**env, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"},
    )


def test_the_same_cascade_is_registered_once(root: Path, tracking: Tracking) -> None:
    values = inputs(root / "a", 9.0)
    assert run(tracking, values) == run(tracking, values)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")
    assert len(client.search_model_versions("name = 'cdm-kedro-cascade'")) == 1


def test_what_is_not_registered_is_said(root: Path, tracking: Tracking) -> None:
    values = inputs(root / "a", 9.0)
    settings = sampling().model_dump(mode="json")
    settings["stages"]["sr"] |= {"conditioning": "val", "truncated": False}
    made = run(tracking, {**values, "sampling": {"params": settings}})
    assert made["version"] is None and made["said"] == "not registered, because sr is conditioned on real images"
    away = register_cascade(**values)  # outside any run
    assert away["version"] is None and "MLflow did not take it" in away["said"]
