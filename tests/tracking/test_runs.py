from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cdm_kedro.tracking.live import live
from cdm_kedro.tracking.runs import Tracking

Runs = Callable[[], dict[str, Any]]


def test_every_stage_is_a_run_below_one_parent(root: Path, runs: Runs) -> None:
    tracking = Tracking(root, "cascade", "test", {"extra": "yes"})
    with tracking.stage("sr64", "key1", ["never run"], {"sr64": {"training": {"lr": 0.1}}}):
        live().log_metrics({"loss": 1.0}, step=1)
        assert live().key == "key1"
    assert live().key is None
    with pytest.raises(ValueError), tracking.stage("sample", "key2", ["forced"], {}):
        raise ValueError("no such model")
    with pytest.raises(KeyboardInterrupt), tracking.stage("evaluate", "key3", ["forced"], {}):
        raise KeyboardInterrupt
    tracking.close("KILLED")
    made = runs()
    parent = made["cascade"]
    assert {name: run.info.status for name, run in made.items()} == {
        "cascade": "KILLED",
        "sr64": "FINISHED",
        "sample": "FAILED",
        "evaluate": "KILLED",
    }
    assert all(run.data.tags["cdm.env"] == "test" and run.data.tags["extra"] == "yes" for run in made.values())
    assert made["sr64"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert made["sr64"].data.tags["cdm.why"] == "never run" and made["sr64"].data.params == {"sr64.training.lr": "0.1"}
    assert made["sample"].data.tags["cdm.error"] == "ValueError('no such model')"


def test_a_skipped_stage_is_linked_to_the_run_that_made_its_outputs(root: Path, runs: Runs) -> None:
    first = Tracking(root, "first", None)
    with first.stage("sr64", "key1", ["never run"], {}):
        pass
    first.close("FINISHED")
    second = Tracking(root, "second", None)
    second.skipped("sr64", "key1")
    second.skipped("sr128", "key nobody has")
    second.close("FINISHED")
    tags = runs()["second"].data.tags
    assert tags["skipped.sr64"] == runs()["sr64"].info.run_id and tags["skipped.sr128"] == "unknown"


def test_outputs_become_artifacts_metrics_and_tags(root: Path, runs: Runs) -> None:
    (root / "scores.json").write_text(json.dumps({"64px": {"fd": 1.5, "note": "few", "ok": True}, "n": 8}))
    (root / "samples.npz").write_bytes(b"large")
    datasets = {
        "metrics": SimpleNamespace(_filepath="scores.json", metadata={"dvc": {"kind": "metrics"}}),
        "samples": SimpleNamespace(_filepath="samples.npz", metadata=None),
    }
    tracking = Tracking(root, "cascade", None)
    with tracking.stage("evaluate", "key", ["never run"], {}) as run:
        tracking.outputs(run, datasets, {"scores.json": "0123"})
    tracking.close("FINISHED")
    made = runs()["evaluate"]
    assert made.data.metrics == {"64px/fd": 1.5, "n": 8.0} and made.data.tags["dvc.scores.json"] == "0123"
    artifacts = root / "mlruns" / made.info.run_id / "artifacts"
    assert [path.name for path in artifacts.iterdir()] == ["scores.json"]


def test_the_stages_of_one_dvc_repro_share_their_parent(root: Path, runs: Runs) -> None:
    """Each stage of `dvc repro` is a process of its own, below a process whose command is dvc."""
    (root / ".dvc/tmp").mkdir(parents=True)
    stage = (
        "import sys; from pathlib import Path; from cdm_kedro.tracking.runs import Tracking\n"
        "tracking = Tracking(Path.cwd(), 'unused', None)\n"
        "with tracking.stage(sys.argv[1], 'key', ['dvc repro'], {}): pass\n"
        "tracking.close('FINISHED')\n"
    )
    (root / "stage.py").write_text(stage)
    (root / "dvc").write_text(
        "import subprocess, sys\n"
        "for name in ('one', 'two'): subprocess.run([sys.executable, 'stage.py', name], check=True)"
    )
    subprocess.run([sys.executable, "dvc", "repro"], check=True, env={**os.environ, "DVC_STAGE": "dvc.yaml:one"})
    made = runs()
    assert set(made) == {"one", "two", "dvc repro"} and all(run.info.status == "FINISHED" for run in made.values())
    parent = made["dvc repro"]
    assert {made[name].data.tags["mlflow.parentRunId"] for name in ("one", "two")} == {parent.info.run_id}
    assert parent.data.tags["cdm.door"] == "dvc"
