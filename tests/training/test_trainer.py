"""The trainer in this process: compilation's fallback, memory and speed, snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_jobs import make_job

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.sizes import network_inputs, training_side
from cdm_kedro.training import memory, speed
from cdm_kedro.training.checkpoint import Checkpoints
from cdm_kedro.training.crops import crop_and_flip
from cdm_kedro.training.trainer import Trainer, World


@pytest.fixture(autouse=True)
def _one_thread(_two_threads: None) -> None:
    torch.set_num_threads(1)  # tiny tensors


def trained(beton: Path, workdir: Path, **training: Any) -> tuple[Trainer, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    trainer = Trainer(make_job(beton, workdir, steps=2, **training), World(0, 1, torch.device("cpu")), events.append)
    trainer.run()
    return trainer, events


class BackwardFails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError("no kernel image")


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_training_goes_on_where_compilation_fails(
    betons: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def compile_badly(net: Any) -> Any:
        def run(*args: Any) -> Tensor:
            if when == "forward":
                raise RuntimeError("no kernel image")
            return BackwardFails.apply(net(*args))

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

    def compile_and_fail_later(net: Any) -> Any:
        def run(*args: Any) -> Tensor:
            calls.append(1)
            if len(calls) > 1:
                raise RuntimeError("device lost")
            return net(*args)

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


def test_peaks_go_by_the_devices_name() -> None:
    assert speed.peak_tflops("NVIDIA H100 80GB HBM3") == 989.4
    assert speed.peak_tflops("NVIDIA H100 PCIe") == 756.0
    assert speed.peak_tflops("NVIDIA A100-SXM4-80GB") == 311.9
    assert speed.peak_tflops("NVIDIA L40S") == 362.1
    assert speed.peak_tflops("Some other device") is None
    # 45 % of an H100: 10 GFLOPs forward at 14 841 images/s are 445 TFLOP/s
    found = speed.achieved(10e9, 14841, 1, 989.4)
    assert found["tflops"] == pytest.approx(445.23) and found["peak_share"] == pytest.approx(0.45, abs=1e-4)
    assert speed.achieved(10e9, 14841, 8, 989.4)["tflops"] == pytest.approx(445.23 / 8)


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


def test_a_snapshot_holds_what_was_saved_not_what_came_after(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    weight, curve = torch.arange(12.0).view(3, 4).t(), [1]
    checkpoints.save(1, {"w": weight}, {"curve": list(curve)})
    checkpoints.before_change()
    weight.zero_()
    checkpoints.join()
    checkpoints.save(2, {"w": weight + 1}, {}, wait=True)
    (tmp_path / "step_000000002.json").unlink()
    found = checkpoints.load(torch.device("cpu"))
    assert found is not None and torch.equal(found[1]["w"], torch.arange(12.0).view(3, 4).t())


def test_crops_lie_on_the_grid_and_flips_mirror_them() -> None:
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    corner = torch.tensor([[0.0, 0.0], [0.999999, 0.5], [0.4, 0.999999]])
    flip = torch.tensor([False, True, False])
    got = crop_and_flip(images, 8, corner, 4, flip)  # places 0, 4, 8 either way
    wanted = torch.stack(
        (images[0, :, 0:8, 0:8], images[1, :, 8:16, 4:12].flip(2), images[2, :, 4:12, 8:16]),
    )
    assert torch.equal(got, wanted) and got.is_contiguous(memory_format=torch.channels_last)
    whole = crop_and_flip(images.contiguous(memory_format=torch.channels_last), 16, None, 1, flip)
    assert torch.equal(whole, torch.stack((images[0], images[1].flip(2), images[2])))
    assert torch.equal(crop_and_flip(images, 8, corner, 4, None)[1], images[1, :, 8:16, 4:12])
