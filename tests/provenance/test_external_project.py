"""`kedro run --pipeline=evaluate --params=external…`: outside the DAG, and tracked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.statistics import frechet_distance, moments
from cdm_kedro.params.evaluation import EvaluateParams

pytestmark = pytest.mark.e2e
NAME = "efficientnet_lite0_32px"


def contents(root: Path) -> dict[str, str]:
    """Hashes of the project's files, without what MLflow and Kedro note about runs."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    named = {path.relative_to(root).as_posix(): path for path in files}
    own = ("mlflow.db", "mlruns/", ".viz/stats.json", ".dvc/tmp/", ".git/", ".scratch/")
    return {
        name: hashlib.md5(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if not name.startswith(own) and not name.endswith(".pyc")
    }


def test_files_from_outside(project: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 32)[None, :, None]
    real, fake = (np.clip(ramp + rng.integers(-s, s, (n, 32, 32, 3)), 0, 255) for s, n in ((20, 24), (90, 22)))
    real, fake = real.astype(np.uint8), fake.astype(np.uint8)
    (tmp_path / "real").mkdir()
    for i, image in enumerate(real):
        Image.fromarray(image).save(tmp_path / "real" / f"{i}.png")
    np.savez(tmp_path / "fake.npz", fake)
    before, statistics = contents(project.root), tmp_path / "new" / "real.npz"
    run = ("kedro", "run", "--env=test")
    asked = f"external.statistics_of={tmp_path}/real,external.output={statistics},evaluate.input_side=32"
    said = project(*run, "--pipelines=evaluate", f"--params={asked}")
    assert f"wrote {statistics} (outside the pipeline" in said and f"24 images, {NAME}" in said
    assert contents(project.root) == before
    # The deprecated spelling; all 22 images count, though evaluate.max_images is 20.
    asked = f"external.samples={tmp_path}/fake.npz,external.reference={statistics},evaluate.input_side=32"
    said = project(*run, "--pipeline=evaluate", f"--params={asked}")
    assert "evaluate: " not in said and "Workflow tracking" not in said
    written = "data/env/test/08_reporting/external/fake_vs_real.json"
    after = contents(project.root)
    assert set(after) - set(before) == {written} and {name: after[name] for name in before} == before
    found = json.loads((project.root / written).read_text())
    features = [make_extractor(EvaluateParams(input_side=32))(images)[0] for images in (fake, real)]
    assert found["n"] == 22 and found["reference_n"] == 24
    assert found[f"fd_{NAME}"] == pytest.approx(frechet_distance(*map(moments, features)), rel=1e-4)
    scores, statistics_run = (
        next(r for r in project.runs() if r.info.run_name == name and r.data.tags.get("cdm.stage"))
        for name in ("evaluate_external", "reference_external")
    )
    for tracked in (scores, statistics_run):
        assert tracked.info.status == "FINISHED" and tracked.data.tags["cdm.outside_dag"] == "true"
        assert "cdm.key" not in tracked.data.tags and tracked.data.tags["mlflow.parentRunId"]
        assert tracked.data.params["evaluate.input_side"] == "32"
    assert scores.data.metrics[f"fd_{NAME}"] == pytest.approx(found[f"fd_{NAME}"])
    assert scores.data.params["external.samples"] == str(tmp_path / "fake.npz")
    assert statistics_run.data.params["external.statistics_of"] == str(tmp_path / "real")


def test_the_recorded_stage_is_as_it_was(project: Any, tmp_path: Path) -> None:
    run = ("kedro", "run", "--env=test", "--pipeline=evaluate")
    assert "evaluate: fresh, skipped" in project(*run)
    said = project(*run, "--params=evaluate.max_images=8", fails=True)
    assert "evaluate would run with parameters that DVC does not see" in said and "dvc exp run -S" in said
    assert "external" not in (project.root / "dvc/test/dvc.yaml").read_text()
    asked = f"--params=external.samples={tmp_path}/none.npz,external.reference={tmp_path}"
    said = project(*run, asked, fails=True)
    assert (
        said == f"Error: --params: external.samples is {tmp_path}/none.npz, which does not exist; name a file or "
        "folder\n"
    )
    said = project(*run, "--tags=evaluate", asked, fails=True)
    assert said.startswith("Error: --params=external… runs one node; leave out --tags")
