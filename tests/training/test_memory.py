"""The memory of a training step, and when activations are recomputed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cdm_kedro.model.build import build_unet, network_inputs
from cdm_kedro.model.sizes import training_side
from cdm_kedro.training import memory
from training_jobs import make_job


def test_memory_is_what_a_real_forward_pass_keeps(betons: dict[str, Path], tmp_path: Path) -> None:
    params = make_job(betons["train_64"], tmp_path, precision="fp32").params
    net = build_unet(params, 3)
    real = memory.saved_bytes(
        net, [torch.ones_like(i) if i is not None else None for i in network_inputs(params, 4, training_side(params))]
    )
    state = memory.STATE_BYTES * sum(p.numel() for p in net.parameters())
    assert memory.step_bytes(params, 3, 4) - state == pytest.approx(real, rel=0.01)

    # one convolution keeps its input and nothing else
    conv, x = torch.nn.Conv2d(3, 5, 3), torch.ones(2, 3, 9, 9)
    assert memory.saved_bytes(conv, [x]) == x.numel() * 4
    # recomputation keeps a fraction
    net.checkpointing = True
    inputs = [torch.ones_like(i) if i is not None else None for i in network_inputs(params, 4, training_side(params))]
    assert memory.saved_bytes(net, inputs) < 0.4 * real


def test_checkpointing_is_chosen_by_memory(betons: dict[str, Path], tmp_path: Path) -> None:
    params = make_job(betons["train_64"], tmp_path).params
    needed = memory.step_bytes(params, 3, 4)
    assert not memory.needs_checkpointing(params, 3, 4, int(needed / 0.89))
    assert memory.needs_checkpointing(params, 3, 4, int(needed / 0.91))
    assert not memory.needs_checkpointing(params, 3, 4, None)
    for wanted in (True, False):
        forced = params.model_copy(update={"unet": params.unet.model_copy(update={"checkpointing": wanted})})
        assert memory.needs_checkpointing(forced, 3, 4, 0) is wanted
