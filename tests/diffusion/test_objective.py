"""The training algorithm of one batch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cdm_kedro.diffusion.augmentation import GaussianConditioning
from cdm_kedro.diffusion.losses import hybrid_loss
from cdm_kedro.diffusion.objective import Objective, Randomness
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.schedules import make_betas
from tiny_unet import tiny_unet

IMAGES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LOW = IMAGES[..., ::2, ::2].contiguous()


class Network:
    """Remembers what it is asked, and answers with eps that are wrong by 0.1."""

    def __init__(self, random: Randomness, channels: int = 3) -> None:
        self.random, self.channels = random, channels

    def __call__(self, *asked: Any) -> Tensor:
        self.x_t, self.condition, self.labels, self.z, self.s = asked
        return torch.cat((self.random.noise + 0.1, torch.zeros_like(self.random.noise)), 1)[:, : self.channels]


def drawn(low: Tensor | None = None) -> Randomness:
    torch.manual_seed(1)
    return Randomness.draw(IMAGES, low)


def process(schedule: str = "cosine") -> DiffusionProcess:
    return DiffusionProcess(make_betas(schedule, 40))


def test_a_base_model_predicts_the_noise_of_q() -> None:
    random = drawn()
    network, objective = Network(random), Objective(process(), class_dropout=0.5, num_classes=3)
    losses = objective(network, IMAGES, torch.tensor([0, 1, 2, 0, 1, 2]), random=random)
    t = (random.t * 40).long()
    x_0 = IMAGES / 127.5 - 1
    assert torch.equal(losses.t, t) and torch.equal(network.condition, t.float())
    torch.testing.assert_close(network.x_t, process().q_sample(x_0, t, random.noise))
    torch.testing.assert_close(losses.simple, torch.full((6,), 0.01))
    assert torch.equal(losses.total, losses.simple)
    dropped = random.dropout < 0.5
    assert torch.equal(network.labels == 3, dropped) and dropped.any() and not dropped.all()
    assert network.z is None and network.s is None
    again = objective(network, x_0, None, random=random)  # float images; an unconditional network
    assert torch.equal(again.simple, losses.simple) and network.labels is None


def test_learned_variances_make_it_hybrid_and_weights_count_for_l_simple() -> None:
    random = drawn()
    network = Network(random, channels=6)
    objective = Objective(process(), vlb_weight=0.5, weight=lambda condition, s: condition + 1)
    losses = objective(network, IMAGES, random=random)
    output, x_0 = network(network.x_t, network.condition, None, None, None), IMAGES / 127.5 - 1
    weight = losses.t.float() + 1
    total, _, _ = hybrid_loss(process(), output, x_0, network.x_t, losses.t, random.noise, 0.5, weight)
    assert torch.equal(losses.total, total)
    simple = Objective(process(), weight=lambda condition, s: condition + 1)(Network(random), IMAGES, random=random)
    torch.testing.assert_close(simple.total, weight * 0.01)
    torch.testing.assert_close(simple.simple, torch.full((6,), 0.01))


def test_a_super_resolution_model_sees_z_s_and_continuous_levels() -> None:
    random, low_process = drawn(LOW), process("linear")
    network = Network(random)
    losses = Objective(process(), GaussianConditioning(low_process), continuous=True)(
        network, IMAGES, low_res=LOW, random=random
    )
    s = (random.augmentation[:, 0].double() * 41).long()
    assert torch.equal(network.s, s.float()) and random.low_noise is not None and (s > 0).all()
    torch.testing.assert_close(network.z, low_process.q_sample(LOW / 127.5 - 1, s - 1, random.low_noise))
    bounds = process().level_bounds().float()
    assert ((network.condition >= bounds[losses.t + 1]) & (network.condition <= bounds[losses.t])).all()
    a = network.condition[:, None, None, None]
    torch.testing.assert_close(network.x_t, a * (IMAGES / 127.5 - 1) + (1 - a**2).sqrt() * random.noise)


@pytest.mark.parametrize("variances", [True, False])
def test_nothing_waits_for_the_device(variances: bool) -> None:
    """On the meta device, which has no values to wait for."""
    with torch.device("meta"):
        settings = {"low_res": True, "aug_conditioning": True, "learned_variances": variances}
        unet = tiny_unet(num_classes=3, class_dropout=0.1, **settings)
        images, low, labels = IMAGES.to("meta"), LOW.to("meta"), torch.zeros(6, dtype=torch.int64)
        objective = Objective(process_of(), GaussianConditioning(process_of()), class_dropout=0.1, num_classes=3)
        loss = objective(unet, images, labels, low).total.mean()
        loss.backward()
    assert loss.is_meta and all(p.grad is not None for p in unet.parameters())


def process_of() -> DiffusionProcess:
    with torch.device("cpu"):  # its tables are checked when they are made
        return process()


def test_the_training_step_of_the_docs_runs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/training.md").read_text(encoding="utf-8")
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Objective" in code]
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["loss"].ndim == 0 and names["loss"].item() > 0
    assert all(p.grad is not None for p in names["net"].parameters())
