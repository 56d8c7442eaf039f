from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from cdm_kedro.cli import cli
from cdm_kedro.model.build import build_unet
from cdm_kedro.model.layers import Attention
from cdm_kedro.model.sizes import model_size
from cdm_kedro.params.model import TrainedModelParams

ROOT = Path(__file__).resolve().parents[2]


def sizes(*options: str) -> str:
    done = CliRunner().invoke(cli, ["model-sizes", *options], obj=SimpleNamespace(project_path=ROOT))
    assert done.exit_code == 0, done.output
    return done.output


def test_documented_sizes_of_the_papers_models_are_those_that_the_command_prints() -> None:
    printed = sizes("--env=imagenet")
    assert printed.strip() in (ROOT / "docs/models.md").read_text(encoding="utf-8")
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[1:]}
    assert list(rows) == ["base32", "sr64", "sr128", "sr256"]
    for stage, (parameters, flops, training, days) in rows.items():
        images = {"base32": 700_000 * 2048, "sr64": 400_000 * 2048}.get(stage, 500_000 * 1024)  # Appendix B
        assert float(training.replace(",", "")) == pytest.approx(
            3 * images * float(flops.replace(",", "")) / 1e9, rel=1e-3
        )
        assert float(days) == pytest.approx(float(training.replace(",", "")) * 1e18 / 4e14 / 86400, rel=1e-3)
        assert 4e8 < int(parameters.replace(",", "")) < 9e8


def test_published_models_cost_no_training() -> None:
    rows = [line.split() for line in sizes("--env=adm", "--tflops=100").splitlines()[1:]]
    assert [(name, parameters, days) for name, parameters, _, _, days in rows] == [
        ("base64", "295,904,454", "0.00"),
        ("sr256", "311,795,910", "0.00"),
    ]


def test_counted_flops_are_those_of_the_layers() -> None:
    """Against 2 out in kernel pixels for a convolution, 2 in out for a linear layer, 4 C N^2 for attention."""
    raw = yaml.safe_load((ROOT / "conf/base/parameters_base32.yml").read_text())["base32"]
    params = TrainedModelParams.model_validate(raw)
    net = build_unet(params, 10)
    total = 0

    def count(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            k = module.kernel_size[0] * module.kernel_size[1]
            total += 2 * module.in_channels * module.out_channels * k * output.shape[-1] * output.shape[-2]
        elif isinstance(module, torch.nn.Linear):
            total += 2 * module.in_features * module.out_features
        elif isinstance(module, Attention):
            total += 4 * output.shape[1] * (output.shape[-1] * output.shape[-2]) ** 2

    for module in net.modules():
        module.register_forward_hook(count)
    net(torch.zeros(1, 3, 32, 32), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    size = model_size(params, 10)
    assert size.forward_flops == total
    assert size.training_flops == 3 * total * params.training.steps * params.training.batch_size
