"""Where compilation fails: in one process of several, and in a classifier, which has batch statistics."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from cdm_kedro.errors import CdmError
from cdm_kedro.params.cas import CasParams
from cdm_kedro.training.classifier.launch import ClassifierJob
from cdm_kedro.training.classifier.trainer import ClassifierTrainer
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.loop import World
from cdm_kedro.training.trainer import Trainer
from training_jobs import BackwardFails, make_job

CPU = torch.device("cpu")


def small_memory_compiler(net: Any, **_: Any) -> Any:
    """Its networks take more memory than there is where they keep their activations, and have no backward pass."""

    def call(*args: Any, **named: Any) -> Tensor:
        if not net.module.checkpointing:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return BackwardFails.apply(net(*args, **named))

    return call


def broken_compiler(net: Any, **_: Any) -> Any:
    return lambda *args, **named: BackwardFails.apply(net(*args, **named))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (8, 3, 64, 64), generator=generator).to(torch.uint8), torch.arange(8) % 3


def steps(folder: Path, world: World, compile: bool) -> tuple[Trainer, list[str]]:
    torch.set_num_threads(1)
    warnings: list[str] = []
    job = make_job(folder, folder, batch_size=8, microbatch=2, precision="fp32", compile=compile)
    trainer = Trainer(job, world, lambda event: warnings.append(event["message"]))
    images, labels = (part.chunk(world.size)[world.rank] for part in batch())
    for _ in range(2):
        trainer.train_step(images, labels)
    return trainer, warnings


def process(rank: int, folder: Path) -> None:
    """One of two; memory and the compiler fail in the second alone, the first has one that works."""
    torch.compile = small_memory_compiler if rank == 1 else lambda net, **_: lambda *args, **named: net(*args, **named)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    trainer, warnings = steps(folder, World(rank, 2, CPU), compile=True)
    assert len(warnings) == 2 and "out of memory; activations are recomputed from now on" in warnings[0]
    assert "RuntimeError: no kernel image" in warnings[1]
    assert trainer.forward is trainer.shared and trainer.net.checkpointing
    if rank == 0:
        torch.save([p.detach() for p in trainer.parameters], folder / "weights.pt")
    del trainer.shared, trainer.forward  # see training/process.py
    gc.collect()
    dist.destroy_process_group()


def test_processes_recompute_and_give_compilation_up_together(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(process, (tmp_path,), nprocs=2)
    alone, warnings = steps(tmp_path, World(0, 1, CPU), compile=False)
    assert not warnings
    for ours, theirs in zip(alone.parameters, torch.load(tmp_path / "weights.pt"), strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_where_nothing_helps_against_small_memory_the_remedy_is_named(
    checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explicit choice is obeyed."""

    def full(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", lambda net, **_: full)
    raw = make_job(tmp_path, tmp_path, compile=True).model_dump()
    raw["params"]["unet"]["checkpointing"] = checkpointing
    trainer = Trainer(TrainingJob.model_validate(raw), World(0, 1, CPU), lambda event: None)
    with pytest.raises(CdmError, match=r"sr64: out of memory; lower training\.microbatch"):
        trainer.train_step(*batch())
    assert trainer.net.checkpointing is checkpointing


@pytest.mark.parametrize("works", [True, False])
def test_a_classifier_is_as_if_nothing_had_been_tried(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, warnings = [], []
    compiler = (lambda net, **_: lambda *args: net(*args)) if works else broken_compiler
    monkeypatch.setattr(torch, "compile", compiler)
    images, labels = batch()
    for compile in (False, True):
        params = CasParams(resolutions=[64], depth=18, width=8, steps=9, batch_size=8, compile=compile)
        job = ClassifierJob(
            name="cas", params=params, resolution=64, num_classes=3, beton="", validation="",
            workdir=str(tmp_path), data={},
        )  # fmt: skip
        trainer = ClassifierTrainer(job, World(0, 1, CPU), warnings.append)
        for _ in range(2):
            trainer.train_step(images, labels)
        found.append(trainer.net.state_dict())
    assert len(warnings) == (0 if works else 1)
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
    tracked = [int(tensor) for name, tensor in found[1].items() if name.endswith("num_batches_tracked")]
    assert set(tracked) == {2}
