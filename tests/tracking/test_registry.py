"""Registered versions, in a local store and in a real `mlflow server` that proxies artifacts."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdm_kedro.tracking.recorder import Recorder

Register = Callable[..., dict[str, Any] | None]


@pytest.fixture(params=["local", "server"])
def place(request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server"))
    return str(request.param)


@pytest.fixture
def client(place: str, root: Path) -> Any:
    import mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri)


@pytest.fixture
def name() -> str:
    return f"cdm-kedro-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def register(place: str, root: Path, name: str, caplog: pytest.LogCaptureFixture) -> Register:
    """Registers a version; a number is the score of one that competes."""
    recorder, tmp = Recorder(root), root / "weights.safetensors"
    recorder.submit(op="create", run="r", parent=None, name="train", tags={})

    def call(
        content: str, score: float | None = None, *, protocol: str = "p", higher: bool = False, **more: Any
    ) -> Any:
        part = tmp.with_suffix(".part")
        part.write_text(content)
        part.replace(tmp)
        model: dict[str, Any] = {
            "name": name,
            "type": "network",
            "content": content,
            "folder": None,
            "files": {"deep/weights.safetensors": str(tmp)},
            "tags": {"file": "weights"},
            "description": "a network",
            "metrics": {},
            "score": score if score is None else {"value": score, "higher": higher, "protocol": protocol},
        }
        answer = recorder.answer(recorder.submit(op="model", run="r", **{**model, **more}))
        assert caplog.text == ""
        return answer

    return call


def test_every_version_keeps_its_own_weights(
    register: Register, client: Any, name: str, place: str, root: Path
) -> None:
    import mlflow

    first, second = register("first weights"), register("second weights")
    assert first and second and (first["version"], second["version"]) == ("1", "2")
    for version, text in (("1", "first weights"), ("2", "second weights")):
        found = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))
        assert (found / "deep/weights.safetensors").read_text() == text
    again = register("first weights")
    assert again == first and len(client.search_model_versions(f"name = '{name}'")) == 2
    assert int(client.get_model_version_by_alias(name, "latest-trained").version) == 1
    version = client.get_model_version(name, "2")
    assert version.tags["file"] == "weights" and version.description == "a network"
    run = client.get_run(version.run_id)
    assert {output.model_id for output in run.outputs.model_outputs} == {first["model"], second["model"]}


def test_a_local_store_takes_no_second_copy(register: Register, client: Any, name: str, place: str, root: Path) -> None:
    register("weights")
    stored = list((root / "mlruns").rglob("weights.safetensors"))
    if place == "server":
        assert stored == []
    else:
        assert [path.stat().st_ino for path in stored] == [(root / "weights.safetensors").stat().st_ino]


def test_the_best_of_those_scored_alike_is_champion(register: Register, client: Any, name: str) -> None:
    def champion() -> str:
        return str(client.get_model_version_by_alias(name, "champion").version)

    first = register("a", 10.0)
    assert first == {**(first or {}), "best_before": None, "champion": True, "champion_version": "1"}
    better = register("b", 8.0)
    assert better and better["best_before"] == {"version": "1", "value": 10.0} and better["champion"]
    worse = register("c", 9.0)
    assert worse and worse["best_before"] == {"version": "2", "value": 8.0} and not worse["champion"]
    other = register("d", 1.0, protocol="q")
    assert other and other["best_before"] is None and not other["champion"] and other["champion_version"] == "2"
    assert champion() == "2"
    same = register("e", 8.0)
    assert same and not same["champion"] and champion() == "2"  # of equals the first
    assert register("c", 9.0) == worse  # asked again, the answer is the same
    client.set_registered_model_alias(name, "champion", "4")
    new = register("f", 0.5, protocol="q")
    assert new and new["champion"] and champion() == "6"


def test_a_score_may_be_better_the_higher_it_is(register: Register, client: Any, name: str) -> None:
    register("a", 0.5, higher=True)
    assert (register("b", 0.7, higher=True) or {})["champion"]
    assert not (register("c", 0.6, higher=True) or {})["champion"]


def test_the_networks_of_the_champion_are_champions(register: Register, client: Any, name: str) -> None:
    network = f"{name}-base32"
    for content in ("old", "new"):
        register(content, name=network)
    register("cascade of old", 3.0, tags={f"cdm.network.{network}": "old"}, metrics={"fd": 3.0})
    assert int(client.get_model_version_by_alias(network, "champion").version) == 1
    register("cascade of new", 2.0, tags={f"cdm.network.{network}": "new"}, metrics={"fd": 2.0})
    assert int(client.get_model_version_by_alias(network, "champion").version) == 2
    model = client.get_logged_model(client.get_model_version_by_alias(name, "champion").tags["cdm.model"])
    assert [(metric.key, metric.value) for metric in model.metrics] == [("fd", 2.0)] and model.status.value == "READY"
