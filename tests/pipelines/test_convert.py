"""`kedro run --pipeline=cascade --env=adm` with files of the published form, small: convert, sample, draw."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.openai import convert_openai, openai_shapes
from cdm_kedro.params.model import parse_model
from project import COPIED, ROOT, Project

SMALL = {"channels": 8, "num_res_blocks": 1, "attention_resolutions": [8], "num_heads": 2, "resblock_updown": True}


@pytest.fixture(scope="module")
def adm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, dict[str, torch.Tensor]]]:
    """The project with conf/adm made small, and the state dicts that lie where its globals say."""
    root = tmp_path_factory.mktemp("adm") / "cdm"
    for name in COPIED:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "dvc.lock", "local"))
        elif source.exists():
            shutil.copy(source, target)
    globals_ = yaml.safe_load((root / "conf/adm/globals.yml").read_text())
    states = {}
    for seed, (stage, mult) in enumerate({"base64": [1, 1, 1, 1], "sr256": [1, 1, 1, 1, 1, 1]}.items()):
        path = root / f"conf/adm/parameters_{stage}.yml"
        raw = yaml.safe_load(path.read_text())
        raw[stage]["unet"] = {**SMALL, "channel_mult": mult}
        path.write_text(yaml.safe_dump(raw))
        generator = torch.Generator().manual_seed(seed)
        with torch.device("meta"):
            shapes = openai_shapes(build_unet(parse_model(raw[stage]), 1000))
        states[stage] = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        weights = root / globals_[f"{stage}_pretrained"]
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.save(states[stage], weights)
    sample = root / "conf/adm/parameters_sample.yml"
    sample.write_text(sample.read_text().replace("steps: 250", "steps: 2").replace("num_samples: 16", "num_samples: 3"))
    project = Project(root)
    for command in ("git init -q", "git config user.email a@b", "git config user.name t", "git add -A"):
        project(*command.split())
    project("git", "commit", "-qm", "start")
    return project, states


def test_convert_sample_and_draw(adm: tuple[Project, dict[str, dict[str, torch.Tensor]]]) -> None:
    project, states = adm
    out = project("kedro", "run", "--pipelines=cascade", "--env=adm")
    stages = [line.split(": running")[0].split()[-1] for line in out.splitlines() if ": running, because" in line]
    assert stages == ["base64", "sr256", "sample", "grids"]  # nothing that needs images
    assert "does not say what data" not in out
    data = project.root / "data/env/adm"
    for stage, state in states.items():
        raw = yaml.safe_load((project.root / f"conf/adm/parameters_{stage}.yml").read_text())[stage]
        params = parse_model(raw)
        expected = convert_openai(state, build_unet(params, 1000), stage == "base64")
        written = load_file(data / f"06_models/{stage}.safetensors")
        assert written.keys() == expected.keys()
        assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())
        card = json.loads((data / f"06_models/{stage}.json").read_text())
        assert card["num_classes"] == 1000 and card["source"].endswith(".pt") and card["mlflow_run"]
        assert card["parameters"] == sum(tensor.numel() for tensor in state.values())
    for resolution in (64, 256):
        with np.load(data / f"07_model_output/samples_{resolution}.npz") as file:
            assert file["arr_0"].shape == (3, resolution, resolution, 3)
            assert file["arr_0"].std() > 10 and file["arr_1"].tolist() == [0, 1, 2]
        assert (data / f"08_reporting/samples_{resolution}.png").stat().st_size > 1000
    assert "Everything is fresh" in project("kedro", "run", "--pipelines=cascade", "--env=adm")


def test_wrong_and_missing_files_are_refused_and_named(
    adm: tuple[Project, dict[str, dict[str, torch.Tensor]]],
) -> None:
    project, states = adm
    weights = project.root / "data/00_weights/64x64_diffusion.pt"
    torch.save(states["sr256"], weights)
    out = project("kedro", "run", "--pipelines=base64", "--env=adm", fails=True)
    assert "Error: " in out and "64x64_diffusion.pt: its network has another structure than the parameters" in out
    assert "tensors are not asked for" in out and "Traceback" not in out
    weights.unlink()
    out = project("kedro", "run", "--pipelines=base64", "--env=adm", fails=True)
    assert "stage base64 reads data/00_weights/64x64_diffusion.pt, which does not exist" in out
    assert "Traceback" not in out
