"""The memory of a training step, and when activations are recomputed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from functorch.compile import aot_function, make_boxed_func, min_cut_rematerialization_partition
from torch._inductor.decomposition import select_decomp_table

from cdm_kedro.model.build import build_unet, network_inputs
from cdm_kedro.model.sizes import training_side
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.training import memory
from project import ROOT
from training_jobs import make_job


def test_memory_is_what_a_real_forward_pass_keeps(betons: dict[str, Path], tmp_path: Path) -> None:
    params = make_job(betons["train_64"], tmp_path, precision="fp32").params
    net = build_unet(params, 3)
    real = memory.saved_bytes(
        net, [torch.ones_like(i) if i is not None else None for i in network_inputs(params, 4, training_side(params))]
    )
    state = memory.STATE_BYTES * sum(p.numel() for p in net.parameters())
    assert memory.step_bytes(params, 3, 4, "fp32", False) - state == pytest.approx(real, rel=0.01)

    # a selection has a network of its own
    selecting = make_job(betons["train_64"], tmp_path, precision="fp32", selection={"every": 1}).params
    more = memory.step_bytes(selecting, 3, 4, "fp32", False) - memory.step_bytes(params, 3, 4, "fp32", False)
    assert more == sum(p.nbytes for p in net.parameters())

    # one convolution keeps its input and nothing else
    conv, x = torch.nn.Conv2d(3, 5, 3), torch.ones(2, 3, 9, 9)
    assert memory.saved_bytes(conv, [x]) == x.numel() * 4
    # recomputation keeps a fraction
    net.checkpointing = True
    inputs = [torch.ones_like(i) if i is not None else None for i in network_inputs(params, 4, training_side(params))]
    assert memory.saved_bytes(net, inputs) < 0.4 * real


def test_checkpointing_is_chosen_by_memory(betons: dict[str, Path], tmp_path: Path) -> None:
    params = make_job(betons["train_64"], tmp_path).params
    for compiled in (False, True):
        step = params, 3, 4, "bf16", compiled
        needed = memory.step_bytes(*step)
        assert not memory.needs_checkpointing(*step, int(needed / 0.89))
        assert memory.needs_checkpointing(*step, int(needed / 0.91))
        assert not memory.needs_checkpointing(*step, None)
    for wanted in (True, False):
        forced = params.model_copy(update={"unet": params.unet.model_copy(update={"checkpointing": wanted})})
        assert memory.needs_checkpointing(forced, 3, 4, "bf16", False, 0) is wanted


@pytest.mark.parametrize("name", ["base32", "sr64", "sr128", "sr256"])
def test_the_papers_models_train_on_80_gb_without_recomputation(name: str) -> None:
    """At their microbatches, where compilation fails too."""
    raw = yaml.safe_load((ROOT / f"conf/imagenet/parameters_{name}.yml").read_text())[name]
    params = TrainedModelParams.model_validate(raw)
    step = params, 1000, params.training.microbatch, "bf16", False
    assert not memory.needs_checkpointing(*step, 80 * 10**9)


@pytest.mark.slow
def test_a_compiled_step_keeps_less_than_is_assumed(tmp_path: Path) -> None:
    """Counted in the graph that the compiler would compile."""
    params = make_job(tmp_path, tmp_path).params
    torch.manual_seed(0)
    net = build_unet(params, 3)
    weights, kept = dict(net.named_parameters()), []

    def forward(weights: dict[str, torch.Tensor], *inputs: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return torch.func.functional_call(net, weights, inputs)

    def count(graph: Any, _: Any) -> Any:
        outputs = graph.graph.output_node().args[0][1:]
        values = [node.meta["val"] for node in outputs if node.op != "placeholder"]
        kept.append(sum(v.nbytes for v in values if isinstance(v, torch.Tensor)))
        return make_boxed_func(graph.forward)

    inputs = network_inputs(params, 8, training_side(params))
    eager = memory.saved_bytes(net, inputs)
    backward, ways = lambda graph, _: make_boxed_func(graph.forward), min_cut_rematerialization_partition
    aot_function(forward, count, backward, ways, select_decomp_table())(weights, *inputs)
    assert 0.1 < kept[0] / eager < 0.5
