"""One truth about staleness, from `kedro run` and from `dvc repro`, on a whole tiny cascade.

The tests share one project and leave it fresh.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from project import PARAMETERS, STAGES, executed, ran_by_dvc


@pytest.fixture(autouse=True)
def _left_fresh(project: Any) -> Any:
    yield
    assert project.stale() == {}


def test_first_run_makes_every_file(project: Any) -> None:
    data = project.root / "data/env/test"
    for size in (32, 64, 128, 256):
        with np.load(data / f"07_model_output/samples_{size}.npz") as file:
            assert file["arr_0"].shape == (10, size, size, 3) and file["arr_0"].dtype == np.uint8
            assert sorted(file["arr_1"].tolist()) == list(range(10))
        assert Image.open(data / f"08_reporting/samples_{size}.png").width >= size
        for split in ("train", "val"):
            assert (data / f"05_model_input/{split}_{size}.beton").is_file()
    for stage in ("base32", "sr64", "sr128", "sr256"):
        card = json.loads((data / f"06_models/{stage}.json").read_text())
        assert card["stage"] == stage and (data / f"06_models/{stage}.safetensors").is_file()
    metrics = json.loads((data / "08_reporting/metrics.json").read_text())
    assert "efficientnet_lite0" in json.dumps(metrics)
    html = (data / "08_reporting/report.html").read_text()
    assert "http-equiv" not in html and 'src="http' not in html and "sr256" in html


def test_every_stage_is_a_run(project: Any) -> None:
    runs = project.runs()
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    first = parents[-1]  # other files' tests may have run the project since
    children = {r.info.run_name: r for r in runs if r.data.tags.get("mlflow.parentRunId") == first.info.run_id}
    assert all(r.info.status == "FINISHED" for r in (first, *children.values()))
    assert set(children) == {"embedded", *STAGES}
    sr64 = children["sr64"]
    assert sr64.data.params["sr64.training.steps"] == "4" and not any(k.startswith("sr128") for k in sr64.data.params)
    assert {"loss", "grad_norm", "images_per_second"} <= set(sr64.data.metrics)
    assert any("git" in tag and "commit" in tag for tag in sr64.data.tags)
    assert any("sr64.safetensors" in tag for tag in sr64.data.tags)


def test_nothing_to_do_from_either_door(project: Any) -> None:
    lock = project.root / "dvc/test/dvc.lock"
    before, runs = lock.read_bytes(), len(project.runs())
    assert executed(project.kedro()) == []
    assert "up to date" in project("dvc", "repro", "dvc/test/dvc.yaml")
    assert lock.read_bytes() == before and len(project.runs()) == runs


def test_data_is_hashed_once_and_linked_not_copied(project: Any) -> None:
    count = (
        "import dvc_data.hashfile.hash as h, pathlib, sys\n"
        "real, read = h._hash_file, []\n"
        "h._hash_file = lambda path, *a, **k: (read.append(path), real(path, *a, **k))[1]\n"
        "from cdm_kedro.provenance.staleness import Staleness\n"
        "truth = Staleness(pathlib.Path.cwd(), 'test')\n"
        "beton = pathlib.Path('data/env/test/05_model_input/train_256.beton')\n"
        "assert truth.all_fresh() and truth.file_hashes([beton])\n"
        "print(len([p for p in read if p.endswith(('.beton', '.npz', '.safetensors', '.jpg'))]))\n"
    )
    assert project(sys.executable, "-c", count).strip() == "0"
    beton = project.root / "data/env/test/05_model_input/train_256.beton"
    os.utime(beton)
    assert project(sys.executable, "-c", count).strip() == "1"
    assert beton.is_symlink() or beton.stat().st_nlink > 1 or "reflink" in project("dvc", "doctor")


def test_a_parameter_reruns_what_depends_on_it_and_back_restores(project: Any) -> None:
    models = project.root / "data/env/test/06_models"
    first = {p.name: p.read_bytes() for p in models.glob("*.safetensors")}
    project.edit(PARAMETERS, "training: {steps: 4,", "training: {lr: 2.0e-4, steps: 4,")
    output = project.kedro()
    assert executed(output) == ["sr64", "sample", "grids", "evaluate", "register", "report"]
    assert "params sr64.training.lr None → 0.0002" in output
    assert "base32: fresh, skipped" in output
    changed = {p.name for p in models.glob("*.safetensors") if p.read_bytes() != first[p.name]}
    assert changed == {"sr64.safetensors"}
    newest = project.runs()
    parent = next(r for r in newest if "mlflow.parentRunId" not in r.data.tags)
    assert any("base32" in key for key in parent.data.tags)  # links to the run that made what was skipped
    project.edit(PARAMETERS, "training: {lr: 2.0e-4, steps: 4,", "training: {steps: 4,")
    output = project("dvc", "repro", "dvc/test/dvc.yaml")  # the other door restores what this one made
    assert "is cached - skipping run" in output and "Running stage" not in output
    assert {p.name: p.read_bytes() for p in models.glob("*.safetensors")} == first


def test_a_sampling_parameter_by_the_other_door(project: Any) -> None:
    project("git", "add", "-A")
    project("git", "commit", "-qm", "lock")
    project.edit(PARAMETERS, "base32: {steps: 4}", "base32: {steps: 5}")
    assert set(project.stale()) == {"sample"}
    output = project("dvc", "repro", "dvc/test/dvc.yaml")
    assert sorted(ran_by_dvc(output)) == ["evaluate", "grids", "register", "report", "sample"]
    assert executed(project.kedro()) == []
    parent = next(r for r in project.runs() if "mlflow.parentRunId" not in r.data.tags)
    children = [r for r in project.runs() if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {r.info.run_name for r in children} == {*ran_by_dvc(output)}  # one parent
    assert "64px.fd_efficientnet_lite0" in project("dvc", "metrics", "diff", "HEAD", "--md")
    curve = "data/env/test/08_reporting/curves/base32.csv"
    assert "vega" in project("dvc", "plots", "diff", "HEAD", "--show-vega", "--targets", curve)
    project.edit(PARAMETERS, "base32: {steps: 5}", "base32: {steps: 4}")
    assert executed(project.kedro()) == []


def test_an_output_deleted_or_damaged_comes_back_without_work(project: Any) -> None:
    data = project.root / "data/env/test"
    samples, model = data / "07_model_output/samples_32.npz", data / "06_models/base32.safetensors"
    kept = {path: path.read_bytes() for path in (samples, model)}
    samples.unlink()
    model.unlink()
    model.write_bytes(kept[model][:-50])
    assert executed(project.kedro()) == []
    assert all(path.read_bytes() == content for path, content in kept.items())
    model.unlink()
    assert ran_by_dvc(project("dvc", "repro", "dvc/test/dvc.yaml")) == []
    assert model.read_bytes() == kept[model]


def test_values_that_dvc_cannot_see_are_refused(project: Any) -> None:
    lock = (project.root / "dvc/test/dvc.lock").read_bytes()
    output = project.kedro("--params=report.title=Other", fails=True)
    assert f"dvc exp run -S {PARAMETERS}:report.title=Other" in output and "Traceback" not in output
    local = project.root / "conf/local/parameters.yml"
    local.parent.mkdir(exist_ok=True)
    local.write_text("report: {title: Mine}\n")
    output = project("kedro", "run", "--pipelines=report", fails=True)
    local.unlink()
    assert "-S conf/base/parameters_evaluate.yml:report.title=Mine" in output
    assert (project.root / "dvc/test/dvc.lock").read_bytes() == lock


def test_experiments(project: Any) -> None:
    output = project("dvc", "exp", "run", "dvc/test/dvc.yaml", "-n", "titled", "-S", f"{PARAMETERS}:report.title=Other")
    assert "report" in output and "sr64" not in executed(output)
    assert "Other" in (project.root / "data/env/test/08_reporting/report.html").read_text()
    assert "titled" in project("dvc", "exp", "show", "--csv")
    project("git", "checkout", "-q", "--", ".")
    assert executed(project.kedro()) == []
    assert "Other" not in (project.root / "data/env/test/08_reporting/report.html").read_text()
    curve = "data/env/test/08_reporting/curves/base32.csv"
    assert "loss" in project("dvc", "plots", "show", "--show-vega", curve)


def test_part_of_a_stage_is_not_recorded(project: Any) -> None:
    project.edit(PARAMETERS, "Tiny cascade", "Tiny cascade, in part")
    assert executed(project("kedro", "run", "--env=test", "--pipelines=evaluate")) == []
    assert set(project.stale()) == {"report"}
    assert executed(project("kedro", "run", "--env=test", "--tags=report")) == ["report"]  # a whole stage, by its tag
    project.edit(PARAMETERS, "Tiny cascade, in part", "Tiny cascade")
    assert "restored" in project.kedro()
    project.edit(PARAMETERS, "grids: {columns: 1}", "grids: {columns: 2}")
    assert set(project.stale()) == {"grids"}  # a picture's layout does not sample again
    assert executed(project.kedro()) == ["grids"]  # with one sample a class the picture is the same: report is fresh
    project.edit(PARAMETERS, "grids: {columns: 2}", "grids: {columns: 1}")
    assert executed(project.kedro()) == []
    project.edit(PARAMETERS, "Tiny cascade", "Tiny cascade, in half")
    lock = (project.root / "dvc/test/dvc.lock").read_bytes()
    output = project("kedro", "run", "--env=test", "--nodes=report.draw_single_images")
    assert "running them without recording" in output and executed(output) == []
    assert (project.root / "dvc/test/dvc.lock").read_bytes() == lock and "report" in project.stale()
    project.edit(PARAMETERS, "Tiny cascade, in half", "Tiny cascade")
    assert executed(project.kedro()) == []


def test_a_failed_stage_ends_as_failed_and_is_not_recorded(project: Any) -> None:
    project.edit(PARAMETERS, "training: {steps: 6, batch_size: 8,", "training: {steps: 6, batch_size: 64,")
    output = project("kedro", "run", "--env=test", "--pipelines=base32", fails=True)
    assert "30 images, fewer than training.batch_size 64" in output
    newest = {r.info.run_name: r.info.status for r in project.runs()[:2]}
    assert newest == {"base32": "FAILED", "base32 --env=test": "FAILED"}
    assert "base32" in project.stale()
    project.edit(PARAMETERS, "training: {steps: 6, batch_size: 64,", "training: {steps: 6, batch_size: 8,")
    assert executed(project.kedro()) == []


def test_force(project: Any) -> None:
    assert executed(project("kedro", "run", "--env=test", "--pipelines=report", "--force")) == ["report"]


def test_lineage(project: Any) -> None:
    output = project("kedro", "lineage", "data/env/test/08_reporting/samples_64.png")
    runs = {r.info.run_id: r.info.run_name for r in project.runs()}
    shown = re.findall(r"^(\w+)\n  run     (\w+)\n  commit  (\w+)", output, re.M)
    assert {stage for stage, *_ in shown} == {
        "embedded",
        "preprocess",
        "base32",
        "sr64",
        "sr128",
        "sr256",
        "sample",
        "grids",
    }
    assert all(runs[run] == stage and len(commit) == 40 for stage, run, commit in shown)
    assert "sr64.training.steps = 4" in output and "evaluate" not in output
    image = next((project.root / "data/env/test/01_raw/embedded").rglob("*.jpg"))
    found = json.loads(project("kedro", "lineage", "--json", str(image)))
    assert [o["stage"] for o in found] == ["embedded"] and found[0]["on_disk"]
    assert "is recorded in no dvc.lock" in project("kedro", "lineage", "pyproject.toml", fails=True)


def test_trained_models_are_registered_with_the_best_one_marked(project: Any) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{project.root}/mlflow.db")
    champion = client.get_model_version_by_alias("cdm-kedro-cascade", "champion")
    cascades = client.search_model_versions("name = 'cdm-kedro-cascade'")
    alike = [version for version in cascades if version.tags["cdm.scored"] == champion.tags["cdm.scored"]]
    best = min(alike, key=lambda version: (float(version.tags["cdm.value"]), int(version.version)))
    assert len(alike) > 1 and champion.version == best.version
    network = client.get_model_version_by_alias("cdm-kedro-sr256", "champion")
    assert network.tags["cdm.content"] == champion.tags["cdm.network.cdm-kedro-sr256"]
    latest = client.get_model_version_by_alias("cdm-kedro-sr256", "latest-trained")
    assert client.get_run(latest.run_id).info.run_name == "sr256" and "final_loss" in latest.tags
    (kept,) = Path(client.get_logged_model(latest.tags["cdm.model"]).artifact_location[7:]).glob("*.safetensors")
    assert hashlib.md5(kept.read_bytes()).hexdigest() == latest.tags["cdm.content"]
    assert kept.stat().st_nlink > 1  # the store is on the project's disk, so the weights are there once


@pytest.mark.parametrize("hangs", [False, True])
def test_a_tracking_server_that_is_away_or_hangs_costs_nothing(project: Any, hangs: bool) -> None:
    before = len(project.runs())
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if hangs:
            server.listen(50)  # connections are made, and nothing ever answers
        away = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.getsockname()[1]}"}
        output = project("kedro", "run", "--env=test", "--pipelines=report", "--force", **away)
    assert output.count("does not answer") == 1 and "kedro replay-runs" in output
    assert len(project.runs()) == before
    still_away = project("kedro", "replay-runs", fails=True, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "what is left stays in .scratch/unlogged" in still_away and "Traceback" not in still_away
    assert "delivered" in project("kedro", "replay-runs")
    new = project.runs()[:-before]
    assert {r.info.run_name: r.info.status for r in new}.get("report") == "FINISHED" and len(new) == 2
    assert project("kedro", "replay-runs").strip() == "delivered 0 operations"


def test_environments_share_no_output(project: Any) -> None:
    made: dict[str, set[str]] = {}
    selected = "conf/imagenet/parameters_base32.yml"
    for env, file in (("base", "dvc.yaml"), ("test", "dvc/test/dvc.yaml"), ("imagenet", "dvc/imagenet/dvc.yaml")):
        if env == "imagenet":
            weights = "weights: data/00_weights/"  # of base32's selection
            project.edit(selected, f"{weights}pt_inception-2015-12-05-6726825d.pth", f"{weights}other.pth")
            project("kedro", "dvc-yaml", "--env=imagenet")
        stages = yaml.safe_load((project.root / file).read_text())["stages"]
        outs = [o for s in stages.values() for kind in ("outs", "metrics", "plots") for o in s.get(kind, [])]
        root = yaml.safe_load((project.root / f"conf/{env}/globals.yml").read_text())["root"]
        made[env] = {(o if isinstance(o, str) else next(iter(o))).replace("${root}", root) for o in outs}
        assert len(made[env]) > 20
    # The network that scores is an input by what it holds, of the stages that read `evaluate` and of no other.
    network = yaml.safe_load((project.root / "conf/imagenet/parameters_evaluate.yml").read_text())["evaluate"][
        "weights"
    ]
    readers = {name for name, stage in stages.items() if network in stage["deps"]}
    assert readers == {"reference", "evaluate", "register", "sr64", "sr128", "sr256"}  # selection scores by it too
    assert {name for name, stage in stages.items() if "data/00_weights/other.pth" in stage["deps"]} == {"base32"}
    project("git", "checkout", "-q", "--", selected)
    assert not made["base"] & made["test"] and not made["imagenet"] & (made["base"] | made["test"])
    shutil.rmtree(project.root / "dvc/imagenet")


def test_a_pipeline_that_changed_is_written_to_dvc_yaml(project: Any) -> None:
    project.edit(PARAMETERS, "stages: [base32, sr64, sr128, sr256]", "stages: [base32, sr64, sr128]")
    project.edit(PARAMETERS, "    sr256: {steps: 2, schedule: linear, beta_start: 0.01, beta_end: 0.7}\n", "")
    output = project.kedro()
    assert "wrote dvc/test/dvc.yaml" in output and set(executed(output)) == {
        "sample",
        "grids",
        "reference",
        "evaluate",
        "register",
        "report",
    }
    assert "sr256" not in yaml.safe_load((project.root / "dvc/test/dvc.yaml").read_text())["stages"]
    project("git", "checkout", "-q", "--", PARAMETERS)
    output = project.kedro()
    assert "wrote dvc/test/dvc.yaml" in output and executed(output) == []


def test_clone_and_pull(project: Any, tmp_path: Path) -> None:
    """What one machine pushed, another pulls: nothing is run there, from either door."""
    project("dvc", "remote", "add", "-d", "-f", "here", str(tmp_path / "remote"))
    project("dvc", "push", "--run-cache", "dvc/test/dvc.yaml")
    project("git", "add", "-A")
    project("git", "commit", "-qm", "pushed")
    project("git", "clone", "-q", ".", str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    clone("dvc", "pull", "--run-cache", "dvc/test/dvc.yaml")
    assert "Everything is fresh" in clone.kedro()
    assert "up to date" in clone("dvc", "repro", "dvc/test/dvc.yaml")
    model = "data/env/test/06_models/base32.safetensors"
    assert (clone.root / model).read_bytes() == (project.root / model).read_bytes()
    clone.edit(PARAMETERS, 'title: "Tiny cascade"', 'title: "Another title"')
    output = clone.kedro()  # DVC asked the remote, which has only the report with the old title
    assert executed(output) == ["report"], output
    assert "Another title" in (clone.root / "data/env/test/08_reporting/report.html").read_text()
