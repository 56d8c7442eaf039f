"""The trainer in this process: compilation's fallback, and the log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cdm_kedro.model.load import load_net
from cdm_kedro.training import checkpoint, loop
from cdm_kedro.training.loop import World
from cdm_kedro.training.trainer import Trainer
from training_jobs import BackwardFails, make_job


@pytest.fixture(autouse=True)
def _one_thread(_two_threads: None) -> None:
    torch.set_num_threads(1)  # tiny tensors


def trained(beton: Path, workdir: Path, **training: Any) -> tuple[Trainer, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    trainer = Trainer(
        make_job(beton, workdir, **{"steps": 2, **training}), World(0, 1, torch.device("cpu")), events.append
    )
    trainer.run()
    return trainer, events


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_training_goes_on_where_compilation_fails(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def compile_badly(net: Any, **_: Any) -> Any:
        def run(*args: Any, **more: Any) -> Tensor:
            if when == "forward":
                raise RuntimeError("no kernel image")
            return BackwardFails.apply(net(*args, **more))

        return run

    plain, events = trained(betons["train_64"], tmp_path / "plain", compile=False)
    assert not [e for e in events if e["event"] == "warning"]
    monkeypatch.setattr(torch, "compile", compile_badly)
    fallen, events = trained(betons["train_64"], tmp_path / "fallen", compile=True)
    (warning,) = [e for e in events if e["event"] == "warning"]
    assert "torch.compile failed (RuntimeError: no kernel image)" in warning["message"]
    timeless = [{k: v for k, v in r.items() if "loss" in k or k == "grad_norm"} for r in plain.curve]
    assert timeless == [{k: v for k, v in r.items() if "loss" in k or k == "grad_norm"} for r in fallen.curve]
    for a, b in zip(plain.net.parameters(), fallen.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_later_failures_are_not_the_compilers(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def compile_and_fail_later(net: Any, **_: Any) -> Any:
        def run(*args: Any, **more: Any) -> Tensor:
            calls.append(1)
            if len(calls) > 1:
                raise RuntimeError("device lost")
            return net(*args, **more)

        return run

    monkeypatch.setattr(torch, "compile", compile_and_fail_later)
    with pytest.raises(RuntimeError, match="device lost"):
        trained(betons["train_64"], tmp_path, compile=True)


def test_log_rows_say_how_fast_and_how_long(betons: dict[str, Path], tmp_path: Path) -> None:
    trainer, _ = trained(betons["train_64"], tmp_path)
    first, last = trainer.curve
    assert first["eta_seconds"] == pytest.approx(4 / first["images_per_second"]) and last["eta_seconds"] == 0
    assert 0 <= last["loader_wait_share"] <= 1 and last["memory_gib"] > 0
    assert last["tflops"] == pytest.approx(3 * trainer.forward_flops * last["images_per_second"] / 1e12)
    assert "peak_share" not in last


def test_geometry_is_told_to_the_network_and_off_it_changes_nothing(betons: dict[str, Path], tmp_path: Path) -> None:
    plain, _ = trained(betons["train_64"], tmp_path / "plain")
    still, _ = trained(betons["train_64"], tmp_path / "still", geometry=0.0)
    moved, _ = trained(
        betons["train_64"], tmp_path / "moved", geometry=0.1, steps=4
    )  # zero layers pass no gradient at first
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters, still.parameters, strict=True))
    assert "geometry" not in plain.params.model_dump_json() and '"geometry":0.1' in moved.params.model_dump_json()
    told = dict(moved.net.named_parameters())["geometry_emb.weight"]
    assert moved.optimizer.state[told]["exp_avg_sq"].any()
    assert moved.curve[1]["loss"] != plain.curve[1]["loss"]
    weights = load_net(Path(moved.finish()["weights"]), moved.params, 3, torch.device("cpu"), "fp32")
    x, low = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 16, 16)
    args = [x, torch.zeros(1), torch.zeros(1, dtype=torch.int64), low, torch.zeros(1)]
    assert torch.equal(weights(*args), weights(*args, torch.zeros(1, 4)))
    assert not torch.equal(weights(*args), weights(*args, torch.ones(1, 4)))


def test_an_examples_loss_does_not_depend_on_how_the_batch_is_shared_out(
    betons: dict[str, Path], tmp_path: Path
) -> None:
    """Draws, dropout and lost classes go by the position in the global batch, also where parts cut Draws' blocks."""
    job = make_job(betons["train_64"], tmp_path, batch_size=64, precision="fp32")
    trainer = Trainer(job, World(0, 1, torch.device("cpu")), lambda event: None)
    with torch.no_grad():  # no layer starts at zero, so that dropout shows
        for p in trainer.net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    images = torch.randint(0, 256, (64, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    labels = torch.arange(64) % 3
    with torch.no_grad():
        whole = trainer.losses(images, labels, 0)
        parts, first = [], 0
        for count in (32, 1, 7, 24):
            parts.append(trainer.losses(images[first : first + count], labels[first : first + count], first))
            first += count
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)
        trainer.net.eval()
        assert (trainer.losses(images, labels, 0) / whole - 1).abs().mean() > 1e-3  # dropout does show


@pytest.mark.parametrize(("long", "kept"), [(0.1, [2]), (10.0, [2, 3])])
def test_a_stopped_training_writes_no_second_checkpoint_where_one_takes_long(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: float, kept: list[int]
) -> None:
    """The first is being written when the stop comes, a step later."""
    write = checkpoint.write_tensors
    monkeypatch.setattr(checkpoint, "write_tensors", lambda *args: (time.sleep(1), write(*args))[1])
    monkeypatch.setattr(loop, "_LONG_WRITE", long)
    job, written = make_job(betons["train_64"], tmp_path, checkpoint_steps=2), []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint":
            written.append(event["step"])
        trainer.stop_requested = event["event"] == "log" and event["step"] == 3

    trainer = Trainer(job, World(0, 1, torch.device("cpu")), hear)
    trainer.run()
    assert written == kept and trainer.step == 3
