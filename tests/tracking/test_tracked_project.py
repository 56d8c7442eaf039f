"""The whole tiny cascade tracked by a real `mlflow server`, and its champion used from elsewhere.

`tests/tracking/postgresql.sh` runs these tests with PostgreSQL behind the server.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from project import Project, new_project
from servers import mlflow_serving

STAGES = {"embedded", "preprocess", "base32", "sr64", "sr128", "sr256", "sample", "reference", "evaluate", "register"}
PARAMETERS = "conf/test/parameters.yml"
PREDICT = """
import sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
made = model.predict(pd.DataFrame({"class": [sys.argv[2]] * 2, "seed": [5, 5]}), params={"every_resolution": True})
print(made.to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def project(server: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose runs go to the server."""
    found = new_project(tmp_path_factory.mktemp("tracked") / "cdm")
    found.env["MLFLOW_TRACKING_URI"] = server
    found.seconds, found.by_door = 1200, True
    return found


@pytest.fixture(scope="module")
def tracked(project: Project) -> str:
    """What `kedro run` said when it made the whole cascade."""
    return project.kedro()


@pytest.fixture
def client(server: str) -> Any:
    return mlflow.MlflowClient(tracking_uri=server)


def runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name("cdm-kedro").experiment_id
    return list(client.search_runs([experiment], "tags.`cdm.env` = 'test'", order_by=["attributes.start_time"]))


def elsewhere(folder: Path, server: str, *words: str) -> str:
    """Output of Python in a fresh process that knows the server and nothing of the project."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env["MLFLOW_TRACKING_URI"] = server
    done = subprocess.run([sys.executable, "-c", *words], cwd=folder, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_every_run_is_finished_and_nothing_is_kept_back(
    tracked: str, project: Project, client: Any, server_folder: Path
) -> None:
    assert "refuses" not in tracked and "does not answer" not in tracked
    assert not list(project.root.glob(".scratch/unlogged/*")) and not (project.root / "mlflow.db").exists()
    found = {run.info.run_name: run for run in runs(client)}
    parent = found.pop("cascade --env=test")
    assert set(found) == STAGES | {"grids", "report"}
    assert all(run.info.status == "FINISHED" for run in (parent, *found.values()))
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    stored = {path.name for path in (server_folder / "store").rglob("*") if path.is_file()}
    assert {"base32.safetensors", "report.html", "samples_256.png", "metrics.json", "MLmodel"} <= stored


def test_runs_name_their_data_their_source_and_their_models(tracked: str, project: Project, client: Any) -> None:
    found = {run.info.run_name: run for run in runs(client)}
    lock = yaml.safe_load((project.root / "dvc/test/dvc.lock").read_text())["stages"]
    recorded = {Path(dep["path"]).stem: dep["md5"] for dep in lock["reference"]["deps"]}
    (one,) = found["sr64"].inputs.dataset_inputs
    assert (one.dataset.name, one.dataset.digest, one.tags[0].value) == ("train_64", recorded["train_64"], "training")
    assert json.loads(one.dataset.profile) == {"num_images": 30, "classes": 10}
    read = {one.dataset.name: one.dataset.digest for one in found["evaluate"].inputs.dataset_inputs}
    assert read == {key: md5 for key, md5 in recorded.items() if key.startswith(("train_", "val_"))} and len(read) == 8
    for name in ("sr64", "evaluate"):
        tags = found[name].data.tags
        assert tags["mlflow.source.name"] == "kedro run --pipelines=cascade --env=test"
        assert tags["mlflow.source.type"] == "LOCAL" and tags["mlflow.source.git.commit"] == tags["git.commit"]
    for name in ("base32", "sr64", "register"):
        (output,) = found[name].outputs.model_outputs
        assert client.get_logged_model(output.model_id).source_run_id == found[name].info.run_id


def test_the_champion_makes_the_pictures_of_sample_class(
    tracked: str, project: Project, server: str, client: Any, tmp_path: Path
) -> None:
    champion = client.get_model_version_by_alias("cdm-kedro-cascade", "champion")
    assert "cdm-kedro-cascade: version 1 is the champion, the first one scored so: 256px.fd_" in tracked
    report = (project.root / "data/env/test/08_reporting/report.html").read_text()
    assert "<b>cdm-kedro-cascade</b> version 1 is the champion" in report
    assert champion.tags["n"] == "10" and "efficientnet_lite0" in champion.description
    name = json.loads((project.root / "data/env/test/05_model_input/classes.json").read_text())[3]
    project("kedro", "sample-class", name, "--env=test", "-n", "2", "--seed", "5", "--out", str(tmp_path / "own"))
    made = json.loads(elsewhere(tmp_path, server, PREDICT, "models:/cdm-kedro-cascade@champion", name))
    assert len(made) == 8
    for one in made:
        file = tmp_path / "own" / f"{name}_5_{one['row']}_{one['resolution']}px.png"
        assert base64.b64decode(one["image"]) == file.read_bytes()
    words = ("models", "serve", "-m", "models:/cdm-kedro-cascade@champion", "--env-manager", "local")
    with mlflow_serving(
        tmp_path, *words, answers="/ping", env={**os.environ, "MLFLOW_TRACKING_URI": server}
    ) as address:
        body = json.dumps({"dataframe_records": [{"class": name, "seed": 5}], "params": {"resolution": 64}}).encode()
        asked = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=240) as answer:
            (served,) = json.load(answer)["predictions"]
    assert served["resolution"] == 64 and len(base64.b64decode(served["image"])) > 100


def test_a_version_keeps_its_weights_whatever_is_trained_later(
    tracked: str, project: Project, server: str, client: Any, tmp_path: Path
) -> None:
    first = (project.root / "data/env/test/06_models/sr64.safetensors").read_bytes()
    project.edit(PARAMETERS, "training: {steps: 4,", "training: {lr: 3.0e-4, steps: 4,")
    output = project.kedro()
    assert "beat version 1" in output or "beats version 1" in output
    second = (project.root / "data/env/test/06_models/sr64.safetensors").read_bytes()
    project.edit(PARAMETERS, "training: {lr: 3.0e-4, steps: 4,", "training: {steps: 4,")
    assert "restored" in project.kedro()
    pictures = []
    for version, weights in (("1", first), ("2", second)):
        code = "import sys, mlflow; print(mlflow.artifacts.download_artifacts(sys.argv[1]))"
        network = Path(elsewhere(tmp_path, server, code, f"models:/cdm-kedro-sr64/{version}"))
        assert (network / "sr64.safetensors").read_bytes() == weights
        pictures.append(elsewhere(tmp_path, server, PREDICT, f"models:/cdm-kedro-cascade/{version}", "3"))
    assert pictures[0] != pictures[1]
    cascades = client.search_model_versions("name = 'cdm-kedro-cascade'")
    best = min(cascades, key=lambda version: (float(version.tags["cdm.value"]), int(version.version)))
    assert client.get_model_version_by_alias("cdm-kedro-cascade", "champion").version == best.version
