"""OpenAI's published networks: structure and conversion. Outputs are compared in benchmarks/peers/compare_openai.py."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cdm_kedro.errors import CdmError
from cdm_kedro.model.build import build_unet
from cdm_kedro.model.openai import convert_openai, load_openai, openai_shapes
from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import PretrainedModelParams, parse_model
from tiny_unet import tiny_unet

ROOT = Path(__file__).resolve().parents[2]
# Names and shapes of every tensor, recorded from networks that OpenAI's own code built from the published flags.
RECORDED = json.loads(gzip.decompress((Path(__file__).parent / "openai_shapes.json.gz").read_bytes()))
FILES = {
    "64x64_diffusion.pt": ("adm", "base64"),
    "64_256_upsampler.pt": ("adm", "sr256"),
    "imagenet64_cond_270M_250K.pt": ("iddpm", "base64"),
    "upsample_cond_500K.pt": ("iddpm", "sr256"),
}


def published(file: str) -> tuple[PretrainedModelParams, UNet]:
    env, stage = FILES[file]
    raw = yaml.safe_load((ROOT / f"conf/{env}/parameters_{stage}.yml").read_text())[stage]
    params = parse_model(raw)
    assert isinstance(params, PretrainedModelParams)
    with torch.device("meta"):
        return params, build_unet(params, params.pretrained.num_classes)


def on_meta(file: str) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in RECORDED[file].items()}


@pytest.mark.parametrize("file", FILES)
def test_environments_describe_exactly_the_published_networks(file: str) -> None:
    params, net = published(file)
    assert openai_shapes(net) == {name: tuple(shape) for name, shape in RECORDED[file].items()}
    converted = convert_openai(on_meta(file), net, params.pretrained.new_attention_order)
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in net.state_dict().items()}
    # The peer has 32 groups everywhere; shapes do not show it.
    assert {m.num_groups for m in net.modules() if isinstance(m, torch.nn.GroupNorm)} == {32}


@pytest.mark.parametrize("file", FILES)
def test_every_other_published_file_is_refused_with_the_differences(file: str) -> None:
    _, net = published(file)
    for other in FILES:
        if other != file:
            with pytest.raises(CdmError) as error:
                convert_openai(on_meta(other), net)
            missing = set(RECORDED[file]) - set(RECORDED[other])
            extra = set(RECORDED[other]) - set(RECORDED[file])
            for what, names in (("are missing", missing), ("are not asked for", extra)):
                if names:
                    assert f"{len(names)} tensors {what}: {min(names)} " in str(error.value)


def test_one_wrong_shape_is_named() -> None:
    _, net = published("64x64_diffusion.pt")
    state = on_meta("64x64_diffusion.pt")
    state["out.2.weight"] = torch.empty(3, 192, 3, 3, device="meta")
    with pytest.raises(CdmError, match=r"out\.2\.weight \(3, 192, 3, 3\), asked for \(6, 192, 3, 3\)"):
        convert_openai(state, net)


@pytest.mark.parametrize("extra", [{}, {"resblock_updown": True, "low_res": True, "num_head_channels": 4}])
def test_each_tensor_goes_to_one_place_and_heads_are_reordered(extra: dict[str, Any]) -> None:
    net = tiny_unet(5, **extra)
    shapes = openai_shapes(net)
    # Constant tensors say where each came from.
    marked = {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(shapes.items())}
    source = {ours: int(tensor.flatten()[0]) for ours, tensor in convert_openai(marked, net, True).items()}
    assert sorted(source.values()) == list(range(len(shapes)))
    generator = torch.Generator().manual_seed(0)
    random = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    names, legacy = list(random), dict(random)
    straight = convert_openai(random, net, new_attention_order=True)
    for name, tensor in random.items():
        if ".qkv." in name:
            heads, width = (2 if not extra else tensor.shape[0] // 12), tensor.shape[0] // 3
            each = width // heads
            rows = [part * width + h * each + c for h in range(heads) for part in range(3) for c in range(each)]
            legacy[name] = tensor[rows]
    from_legacy = convert_openai(legacy, net, new_attention_order=False)
    assert any(".qkv." in name for name in names)
    for ours, tensor in straight.items():
        assert torch.equal(tensor.flatten(), random[names[source[ours]]].flatten())
        assert torch.equal(from_legacy[ours], tensor), ours


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_new_and_old_pytorch_load(tmp_path: Path, zipped: bool) -> None:
    net = tiny_unet(5)
    state = {name: torch.randn(shape) for name, shape in openai_shapes(net).items()}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_openai(tmp_path / "a.pt", net, True)
    net.load_state_dict(loaded)
    for name, tensor in convert_openai(state, net, True).items():
        assert torch.equal(tensor, loaded[name])


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    net = tiny_unet(5)
    (tmp_path / "page.pt").write_text("<html>404</html>")
    with pytest.raises(CdmError, match=r"page\.pt is not a state dict saved by PyTorch"):
        load_openai(tmp_path / "page.pt", net)
    torch.save({name: torch.zeros(shape) for name, shape in openai_shapes(net).items()}, tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:5000])
    with pytest.raises(CdmError, match=r"cut\.pt is not a state dict saved by PyTorch"):
        load_openai(tmp_path / "cut.pt", net)
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(CdmError, match=r"list\.pt holds something else"):
        load_openai(tmp_path / "list.pt", net)
    torch.save(Path("x"), tmp_path / "code.pt")  # a pickled object is never built
    with pytest.raises(CdmError, match=r"code\.pt is not a state dict"):
        load_openai(tmp_path / "code.pt", net)
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(CdmError, match=r"other\.pt: its network has another structure"):
        load_openai(tmp_path / "other.pt", net)


def test_pretrained_stage_needs_no_training_and_takes_no_unknown_key() -> None:
    raw = yaml.safe_load((ROOT / "conf/adm/parameters_base64.yml").read_text())["base64"]
    assert parse_model(raw).class_dropout == 0
    with pytest.raises(ValueError, match="training"):
        parse_model({**raw, "training": {"steps": 1, "batch_size": 1}})
    with pytest.raises(ValueError, match="openai"):
        parse_model({**raw, "pretrained": {"kind": "else"}})
    with pytest.raises(ValueError, match="num_head_channels 100 does not divide"):
        parse_model({**raw, "unet": {**raw["unet"], "num_head_channels": 100}})
