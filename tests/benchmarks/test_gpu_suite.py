"""The GPU suite at toy size on the CPU, as a machine runs it that has PyTorch and little else."""

import json
import os
import subprocess
import sys
from functools import partial
from importlib.metadata import distribution
from pathlib import Path

import psutil
import pytest
import torch
from packaging.requirements import Requirement

from project import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu_suite
import parts
import training

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
    measured = found["parts"]
    assert list(measured)[:5] == ["sr64 training", "sr64 peers", "sr64 sampling", "loader 64", "loader 256"]
    assert len(measured) == 8 and not any("failed" in part for part in measured.values())
    assert measured["loader 64"]["loader"] == "PlainLoader" and measured["loader 64"]["images/s"] > 0
    for name in ("sr64", "base32"):
        row = measured[f"{name} training"]
        assert row["images/s"] > 0 and row["share of matmul"] == pytest.approx(
            row["tflops"] / found["bf16 matmul TFLOP/s"]
        )
        assert row["warnings"] == [] and 0 < row["estimated GiB"] < 1 and row["microbatch"] == 2
        assert measured[f"{name} sampling"]["plain, step over network"] > 0


def test_it_goes_on_after_a_failure_and_after_what_takes_its_process_with_it() -> None:
    good, saved = partial(dict, **{"images/s": 2.0}), []
    run: dict[str, parts.Part] = {"fails": partial(int, "x"), "good": good, "dies": os.abort, "again": good}
    found = parts.run_parts(run, 10, lambda found: saved.append(list(found)))
    assert found["fails"]["failed"].startswith("ValueError: invalid literal")
    assert found["dies"]["failed"] == "its process ended with code -6"
    assert found["good"]["images/s"] == found["again"]["images/s"] == 2
    assert saved == [list(run)[: i + 1] for i in range(4)]


def test_what_takes_too_long_is_stopped_with_its_processes() -> None:
    worker = parts.Worker()
    assert worker.run(partial(dict, x=1), 60) == {"x": 1}
    assert worker.run(partial(subprocess.run, ["sleep", "4321"]), 2) == {"stopped": "after 2 s"}
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "4321"]]
    assert worker.run(partial(dict, x=2), 60) == {"x": 2}
    worker.end()


def test_what_the_budget_has_no_room_for_is_named() -> None:
    found = parts.run_parts({"a": partial(dict, x=1.0)}, 0, lambda found: None)
    assert found == {"a": {"left out": "the budget is spent"}}


def test_parts_of_earlier_calls_are_kept() -> None:
    """Unless the device or PyTorch is another; what this call did not come to replaces nothing."""
    about = {"device": "H100", "torch": "2.13"}
    before = {**about, "parts": {"sr64 training": {"images/s": 3.0}, "loader 64": {"images/s": 1.0}}}
    found = {"base32 training": {"images/s": 5.0}, "loader 64": {"images/s": 2.0}}
    missed = {"sr64 training": {"stopped": "after 60 s"}, "sr128 training": {"left out": "the budget is spent"}}
    assert parts.merged(before, about, found | missed) == {
        "sr64 training": {"images/s": 3.0}, "sr128 training": missed["sr128 training"], **found
    }  # fmt: skip
    assert parts.merged(before, {**about, "device": "H200"}, found) == found == parts.merged({}, about, found)


def test_a_peer_is_measured_in_both_layouts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ours stands in for guided-diffusion, whose checkout the tests do not have."""

    class Guided(training.Ours):
        def __init__(self, checkout: Path, params: training.TrainedModelParams, fp16: bool) -> None:
            super().__init__(params)

    layouts, step = [], training.training_step
    monkeypatch.setattr(training, "Guided", Guided)
    monkeypatch.setattr(training, "training_step", lambda *given: layouts.append(given[-1]) or step(*given))
    monkeypatch.setattr(gpu_suite.importlib.util, "find_spec", lambda name: None)
    params = training.stage_params("test", "sr64", channels=32)
    found = gpu_suite.peers_part(params, 2, tmp_path, torch.device("cpu"), False, 1)
    assert layouts == [torch.contiguous_format, torch.channels_last]
    fastest = min(found[f"guided-diffusion {layout}, ms a step"] for layout in ("contiguous", "channels_last"))
    assert found["guided-diffusion images/s"] == pytest.approx(2e3 / fastest)


def test_peers_are_compared_with_the_whole_step() -> None:
    found = {"sr64 training": {"images/s": 30.0}, "sr64 peers": {"microbatch": 2, "guided-diffusion images/s": 20.0}}
    assert gpu_suite.against_peers(found | {"base32 peers": {"diffusers images/s": 1.0}}) == {
        "sr64 over guided-diffusion": 1.5
    }


def test_models_whose_weights_are_selected_are_measured_too() -> None:
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.model import parse_model

    small, paper = (read_parameters(ROOT / "conf", env)[0]["sr64"] for env in ("test", "imagenet"))
    assert paper["training"]["selection"]
    training = {**small["training"], "selection": paper["training"]["selection"]}
    params = parse_model({**small, "training": training})
    measured = gpu_suite.training_part(params, 2, torch.device("cpu"), False, 1, 1e12)
    assert measured["images/s"] > 0
