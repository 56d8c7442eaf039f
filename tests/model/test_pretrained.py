"""Conversion of a published file to weights."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.openai import convert_file, convert_openai, openai_shapes
from cdm_kedro.params.model import PretrainedModelParams

PARAMS = PretrainedModelParams.model_validate(
    {
        "resolution": 8,
        "unet": {"channels": 8, "channel_mult": [1], "num_res_blocks": 1, "attention_resolutions": [8]},
        "diffusion": {"timesteps": 10, "schedule": "cosine"},
        "pretrained": {"kind": "openai", "num_classes": 3},
    }
)
CONVERT = """
import sys
from pathlib import Path
from cdm_kedro.model.openai import convert_file
from cdm_kedro.params.model import PretrainedModelParams
convert_file(Path(sys.argv[1]), "base", PretrainedModelParams.model_validate_json(sys.argv[2]), Path(sys.argv[3]))
"""


def published(folder: Path) -> Path:
    state = {name: torch.randn(shape) for name, shape in openai_shapes(build_unet(PARAMS, 3)).items()}
    torch.save(state, folder / "published.pt")
    return folder / "published.pt"


def test_the_file_holds_the_converted_tensors_and_the_description(tmp_path: Path) -> None:
    source = published(tmp_path)
    facts = convert_file(source, "base", PARAMS, tmp_path / "base.safetensors")
    expected = convert_openai(torch.load(source), build_unet(PARAMS, 3))
    with safe_open(tmp_path / "base.safetensors", "pt") as file:
        said, found = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert said == {"stage": "base", "num_classes": "3", "params": PARAMS.model_dump_json()}
    assert facts == {"source": "published.pt", "num_classes": 3, "parameters": sum(x.numel() for x in found.values())}
    assert PretrainedModelParams.model_validate(json.loads(said["params"])) == PARAMS


def test_four_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """The order of a safetensors file's metadata differs between processes where nobody sorts it."""
    source = published(tmp_path)
    outs = [tmp_path / f"{number}.safetensors" for number in range(4)]
    running = [
        subprocess.Popen([sys.executable, "-c", CONVERT, str(source), PARAMS.model_dump_json(), str(out)])
        for out in outs
    ]
    assert [process.wait(200) for process in running] == [0] * 4
    assert len({hashlib.sha256(out.read_bytes()).hexdigest() for out in outs}) == 1
