"""What a training step asks of the device: no wait, a bounded number of kernels, float32 weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cdm_kedro.params.cas import CasParams
from cdm_kedro.training.classifier.launch import ClassifierJob
from cdm_kedro.training.classifier.trainer import ClassifierTrainer
from cdm_kedro.training.draws import Draws
from cdm_kedro.training.loop import Loop, World
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


def classifier_of(betons: dict[str, Path], folder: Path) -> ClassifierTrainer:
    params = CasParams(resolutions=[64], depth=18, width=8, steps=8, batch_size=8, log_every=3)
    job = ClassifierJob(
        name="cas", params=params, resolution=64, num_classes=3, beton=str(betons["train_64"]), validation="",
        workdir=str(folder), data={},
    )  # fmt: skip
    return ClassifierTrainer(job, World(0, 1, CPU), lambda event: None)


@pytest.mark.parametrize("network", ["model", "classifier"])
def test_the_loop_waits_for_the_device_only_where_it_logs(
    network: str, betons: dict[str, Path], tmp_path: Path
) -> None:
    """From the loader's batch to the next, and what is around a step; steps 3, 6 and 8 are logged."""
    trainer: Loop
    if network == "model":
        job = make_job(betons["train_64"], tmp_path, steps=8, batch_size=8, log_every=3, checkpoint_steps=None)
        trainer = Trainer(job, World(0, 1, CPU), lambda event: None)
    else:
        trainer = classifier_of(betons, tmp_path)
    trainer.train_step(batch()[0][:8], batch()[1][:8])  # fills tables
    saved, save = [], trainer.save
    trainer.save = lambda *given, **named: (saved.append(len(watch.waits)), save(*given, **named))  # type: ignore[method-assign]
    with watched() as watch:
        trainer.run()
    assert trainer.step == 8 and len(trainer.curve) == 3 and len(saved) == 1
    reads = ["tolist in trainer.py"] * (2 if network == "model" else 1)  # of a model the meter, and skipped steps
    waits = [what.partition(":")[0] for kernels, what in watch.waits[: saved[0]] if kernels > 9]  # FFCV makes buffers
    assert waits == 3 * reads


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_weights_moments_and_average_are_float32(precision: str, tmp_path: Path) -> None:
    trainer = trainer_of("discrete", tmp_path, precision=precision)
    trainer.train_step(*batch())
    assert trainer.optimizer.defaults["fused"] is True
    state = [value for each in trainer.optimizer.state.values() for value in each.values()]
    tensors = [*trainer.net.parameters(), *state, *trainer.ema.shadow]
    assert len(state) == 3 * len(trainer.parameters) and {tensor.dtype for tensor in tensors} == {torch.float32}
