"""Muon against PyTorch's own, which takes matrices only; skipped steps, and a stopped training."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cdm_kedro.training.launch import launch
from cdm_kedro.training.loop import World
from cdm_kedro.training.muon import Muon, orthogonal
from cdm_kedro.training.trainer import Trainer
from device_watch import watched
from training_jobs import make_job


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv_in, self.conv_out = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 3, 3)
        self.tall, self.wide, self.conv = nn.Linear(8, 24), nn.Linear(24, 8), nn.Conv2d(8, 16, 3)
        self.classes = nn.Embedding(10, 8)
        self.to(memory_format=torch.channels_last)


def flat(values: Tensor) -> Tensor:
    return values.detach().flatten(1) if values.ndim == 4 else values.detach()


def step(optimizers: list[torch.optim.Optimizer], parameters: dict[str, nn.Parameter], seed: int) -> None:
    """One step with the same random gradients for every set of parameters, flattened or not."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: p.shape for name, p in Net().named_parameters()}
    for name, p in parameters.items():
        gradient = torch.randn(shapes[name], generator=generator)
        p.grad = torch.empty_like(p).copy_(gradient.view_as(p))  # in the layout of the parameter, as autograd's
    for optimizer in optimizers:
        optimizer.found_inf = torch.zeros(())
        optimizer.step()


@pytest.mark.parametrize("shape", [(32, 100), (100, 32)])
def test_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices).float())
    assert values.min() > 0.6 and values.max() < 1.3


def test_it_is_pytorchs_on_matrices_and_adam_elsewhere() -> None:
    """A convolution is the matrix of its flattened kernel; both have Adam's learning rate."""
    net, lr = Net(), 0.01
    ours = dict(net.named_parameters())
    theirs = {name: nn.Parameter(flat(p).clone()) for name, p in ours.items()}
    inner = [theirs[name] for name in ("tall.weight", "wide.weight", "conv.weight")]
    muon = torch.optim.Muon(inner, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.Adam([p for name, p in theirs.items() if all(p is not q for q in inner)], lr=lr, fused=True)
    optimizer = Muon(net, lr)
    for seed in range(4):
        step([optimizer], ours, seed)
        step([muon, adam], theirs, seed)
    for name, p in ours.items():
        torch.testing.assert_close(flat(p), theirs[name].detach(), rtol=0, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_a_skipped_step_changes_nothing() -> None:
    net = Net()
    optimizer = Muon(net, 0.01)
    step([optimizer], dict(net.named_parameters()), 0)
    before = [p.detach().clone() for p in net.parameters()]
    kept = [optimizer.state[p]["momentum"].clone() for p in optimizer.inner]
    for p in net.parameters():
        p.grad = torch.full_like(p, float("nan"))
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert all(torch.equal(a, optimizer.state[p]["momentum"]) for a, p in zip(kept, optimizer.inner, strict=True))


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_training_goes_on_with_the_same_bits(stop: int, betons: dict[str, Path], tmp_path: Path) -> None:
    def trained(folder: Path, steps: int) -> Trainer:
        job = make_job(betons["train_64"], folder, optimizer="muon", steps=steps, lr=0.003)
        trainer = Trainer(job, World(0, 1, torch.device("cpu")), lambda event: None)
        trainer.run()
        return trainer

    whole, first = trained(tmp_path / "whole", 5), trained(tmp_path / "w", stop)
    second = trained(tmp_path / "w", 5)
    assert first.step == stop and second.step == whole.step == 5
    state: Any = whole.optimizer.state
    assert sum("momentum" in state[p] for p in whole.parameters) > 20
    for a, b in zip(whole.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_waits_for_nothing(tmp_path: Path) -> None:
    job = make_job(tmp_path, tmp_path, optimizer="muon", batch_size=4)
    trainer = Trainer(job, World(0, 1, torch.device("cpu")), lambda event: None)
    batch = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8), torch.arange(4) % 3
    trainer.train_step(*batch)  # fills tables
    with watched() as watch:
        trainer.train_step(*batch)
    assert watch.waits == []


def test_two_processes_share_out_the_matrices(betons: dict[str, Path], tmp_path: Path) -> None:
    def trained(name: str, devices: int) -> tuple[list[float], Tensor]:
        training = {"optimizer": "muon", "precision": "fp32", "steps": 4, "lr": 1e-3, "devices": devices}
        result = launch(make_job(betons["train_64"], tmp_path / name, **training), lambda event: None)
        weights = load_file(result.weights)
        return [row["loss"] for row in result.curve], torch.cat([weights[name].flatten() for name in sorted(weights)])

    (losses, one), (again, two) = trained("one", 1), trained("two", 2)
    assert again == pytest.approx(losses, rel=1e-4)
    assert (two - one).norm() < 0.02 * one.norm()
