"""What a training step asks of the device: no wait, a bounded number of kernels, float32 weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cdm_kedro.training.draws import Draws
from cdm_kedro.training.loop import World
from cdm_kedro.training.trainer import Trainer
from device_watch import watched
from training_jobs import make_job

CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "discrete": {},
    "continuous": {
        "diffusion": {"timesteps": 40, "schedule": "linear", "noise_conditioning": "continuous"},
        "augmentation": {"kind": "blur", "sigma_min": 0.4, "sigma_max": 0.6},
    },
}


def trainer_of(kind: str, folder: Path, **training: Any) -> Trainer:
    raw = make_job(folder, folder, **{"batch_size": 32, "microbatch": 16, "grad_clip": 1.0, **training}).model_dump()
    raw["params"] |= KINDS[kind]
    return Trainer(type(make_job(folder, folder)).model_validate(raw), World(0, 1, CPU), lambda event: None)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (32, 3, 64, 64), dtype=torch.uint8), torch.arange(32) % 3


@pytest.mark.parametrize(
    ("kind", "training", "most"), [("discrete", {}, 275), ("discrete", {"geometry": 0.1}, 295), ("continuous", {}, 120)]
)
def test_a_step_waits_for_nothing_and_starts_few_kernels(
    kind: str, training: dict[str, Any], most: int, tmp_path: Path
) -> None:
    """Outside the network, whose place one product takes. The first step fills tables.

    Most kernels of a discrete model are of the variational bound, forward and backward.
    """
    trainer, (images, labels) = trainer_of(kind, tmp_path, **training), batch()
    trainer.draws = Draws(0, 1024, CPU)  # of the paper's batches, whose blocks are not single images
    outputs = 1 + (kind == "discrete")
    weight = trainer.parameters[0]
    trainer.forward = lambda x, *rest, **named: torch.cat((x,) * outputs, 1) * weight.flatten()[0]
    trainer.train_step(images, labels)
    trainer.checkpoints.save(1, {"x": torch.zeros(1)}, {}, wait=True)
    with watched() as watch:
        trainer.accumulate(images[:16], labels[:16])
    each = len(watch.kernels)
    with watched() as watch:
        trainer.train_step(images, labels)
    assert watch.waits == []
    assert each <= most and len(watch.kernels) - 2 * each <= 40


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_weights_moments_and_average_are_float32(precision: str, tmp_path: Path) -> None:
    trainer = trainer_of("discrete", tmp_path, precision=precision)
    trainer.train_step(*batch())
    assert trainer.optimizer.defaults["fused"] is True
    state = [value for each in trainer.optimizer.state.values() for value in each.values()]
    tensors = [*trainer.net.parameters(), *state, *trainer.ema.shadow]
    assert len(state) == 3 * len(trainer.parameters) and {tensor.dtype for tensor in tensors} == {torch.float32}
