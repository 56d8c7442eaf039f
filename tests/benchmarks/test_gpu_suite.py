"""The GPU suite at toy size on the CPU, as a machine runs it that has PyTorch and little else."""

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from project import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu_suite

PINS = dict(line.split("==") for line in (ROOT / "packaging/benchgpu-requirements.txt").read_text().split())
"""What `make benchgpu` needs beside PyTorch."""


def closure(name: str, found: set[str]) -> set[str]:
    """A distribution and what it requires, without extras."""
    key = name.lower().replace("_", "-")
    if key not in found:
        found.add(key)
        for requirement in distribution(name).requires or ():
            parsed = Requirement(requirement)
            if parsed.marker is None or parsed.marker.evaluate({"extra": ""}):
                closure(parsed.name, found)
    return found


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment whose only packages are PyTorch's, pytest's and those of PINS."""
    site = tmp_path / "site"
    site.mkdir()
    packages: set[str] = set()
    for name in ("torch", "pytest", *PINS):
        closure(name, packages)
    assert packages == closure("torch", set()) | closure("pytest", set()) | {name.lower() for name in PINS}
    assert not packages & {"kedro", "dvc", "mlflow", "ffcv", "pillow", "psutil"}
    for name in packages:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__", "bin") and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(site)])}


def test_it_needs_little_beside_pytorch(bare: dict[str, str], tmp_path: Path) -> None:
    """-S leaves out the interpreter's site-packages."""
    absent = [sys.executable, "-S", "-c", "import torch, yaml; import kedro"]
    assert "No module named 'kedro'" in subprocess.run(absent, env=bare, capture_output=True, text=True).stderr
    command = [sys.executable, "-S", str(ROOT / "benchmarks/gpu_suite.py"), "--toy"]
    command += ["--models", "sr64", "base32", "--results", str(tmp_path)]
    done = subprocess.run(command, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu_suite_toy.json").read_text())
    parts = found["parts"]
    assert list(parts)[:5] == ["sr64 training", "sr64 peers", "sr64 sampling", "loader 64", "loader 256"]
    assert len(parts) == 8 and not any("failed" in part for part in parts.values())
    assert parts["loader 64"]["loader"] == "PlainLoader" and parts["loader 64"]["images/s"] > 0
    for name in ("sr64", "base32"):
        row = parts[f"{name} training"]
        assert row["images/s"] > 0 and row["share of matmul"] == pytest.approx(
            row["tflops"] / found["bf16 matmul TFLOP/s"]
        )
        assert row["warnings"] == [] and 0 < row["estimated GiB"] < 1 and row["microbatch"] == 2
        assert parts[f"{name} sampling"]["plain, step over network"] > 0


def test_it_names_what_it_leaves_out_and_goes_on_after_a_failure() -> None:
    def fails() -> gpu_suite.Figures:
        raise RuntimeError("too large")

    saved: list[list[str]] = []
    run = [{"a": fails, "b": lambda: {"images/s": 2.0}}, lambda found: saved.append(list(found))]
    found = gpu_suite.run_parts(run[0], 10, gpu_suite.torch.device("cpu"), run[1])
    assert (
        found["a"]["failed"] == "RuntimeError: too large"
        and found["b"]["images/s"] == 2
        and saved == [["a"], ["a", "b"]]
    )
    assert list(gpu_suite.run_parts(run[0], -1, gpu_suite.torch.device("cpu"), run[1])["b"]) == ["left out"]


def test_peers_are_compared_with_the_whole_step() -> None:
    parts = {"sr64 training": {"images/s": 30.0}, "sr64 peers": {"microbatch": 2, "guided-diffusion images/s": 20.0}}
    assert gpu_suite.against_peers(parts | {"base32 peers": {"diffusers images/s": 1.0}}) == {
        "sr64 over guided-diffusion": 1.5
    }


def test_models_whose_weights_are_selected_are_measured_too() -> None:
    import torch

    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.model import parse_model

    small, paper = (read_parameters(ROOT / "conf", env)[0]["sr64"] for env in ("test", "imagenet"))
    assert paper["training"]["selection"]
    training = {**small["training"], "selection": paper["training"]["selection"]}
    params = parse_model({**small, "training": training})
    measured = gpu_suite.training_part(params, 2, torch.device("cpu"), False, 1, 1e12)
    assert measured["images/s"] > 0
