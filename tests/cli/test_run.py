"""The command line: what it imports, and what it says to wrong parameters before any work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from project import COPIED, ROOT, Project

HEAVY = {"torch", "mlflow", "ffcv", "numba", "cv2", "pandas", "dvc", "scipy", "matplotlib"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in which nothing was run."""
    root = tmp_path_factory.mktemp("plain") / "cdm"
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "local"))
        else:
            shutil.copy(source, target)
    (root / "conf/local").mkdir()
    project = Project(root)
    project("git", "init", "-q")
    return project


@pytest.mark.parametrize("command", [["--help"], ["registry", "list"], ["run", "--help"]])
def test_looking_around_imports_nothing_heavy(plain: Project, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kedro", *command],
        cwd=plain.root,
        env=plain.env,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "kedro" in imported and not imported & HEAVY
    assert ("cascade" in done.stdout and "search_truncation" in done.stdout) or command != ["registry", "list"]


def test_commands_work_in_a_folder_below(plain: Project) -> None:
    below = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--pipeline=claim"],
        cwd=plain.root / "src/cdm_kedro",
        env=plain.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert "no pipeline 'claim' in environment base; it exists with --env=claim" in below.stdout


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (
            "sr64",
            "    lr: 3.0e-3",
            "    learning_rate: 3.0e-3",
            "sr64.training.learning_rate is not a key. Known are batch_size",
        ),
        ("sr64", "    max_s: 400", "    max_s: 4000", "sr64.augmentation: max_s 4000 exceeds timesteps 1000"),
        (
            "sr64",
            "    max_s: 400",
            "    max: 400",
            "sr64.augmentation.max is not a key; did you mean max_s? Known are ",
        ),
        (
            "base32",
            "    steps: 600",
            "    steps: many",
            "base32.training.steps is 'many': Input should be a valid integer",
        ),
        ("base32", "    num_heads: 4", "    num_heads: 5", "base32.unet: num_heads 5 does not divide 32 channels"),
        (
            "base32",
            "attention_resolutions: [8]",
            "attention_resolutions: [7]",
            "base32: attention_resolutions [7] never",
        ),
        ("sr256", "[1, 2, 4]", "[1, 2, 4, 4, 4, 4, 4, 4, 4, 4]", "sr256: resolution 256 is not divisible by 512"),
        ("base32", "    timesteps: 1000", "    # none", "base32.diffusion.timesteps is missing"),
        ("sr64", "low_resolution: 32", "low_resolution: 64", "sr64.low_resolution is 64, but base32 models 32-pixel"),
        ("sr64", "low: base32", "low: base23", "sr64.low is 'base23', which is not an earlier entry of cascade.stages"),
        ("cascade", "sr64,", "sr46,", "cascade.stages names 'sr46', but no parameters file has a key 'sr46'"),
        ("evaluate", "evaluate:", "evalaute:", "evalaute is not a key; did you mean evaluate?"),
        (
            "sample",
            "sampler: ddim",
            "sampler: dimm",
            "sample.stages.sr64.sampler is 'dimm': Input should be 'ancestral'",
        ),
    ],
)
def test_wrong_parameters_stop_before_any_work(plain: Project, path: str, old: str, new: str, said: str) -> None:
    file = plain.root / f"conf/base/parameters_{path}.yml"
    kept = file.read_text()
    assert old in kept
    try:
        file.write_text(kept.replace(old, new, 1))
        output = plain("kedro", "run", "--pipeline=cascade", fails=True)
    finally:
        file.write_text(kept)
    assert said in output and f"parameters_{path}.yml" in output and "Traceback" not in output, output
    assert not (plain.root / "data").exists() and not (plain.root / "mlflow.db").exists()


def test_the_copy_is_sound_without_the_mistakes(plain: Project, tmp_path: Path) -> None:
    assert "up to date" not in plain(
        "dvc", "status", "dvc.yaml"
    )  # everything is still to be made, and nothing is wrong
