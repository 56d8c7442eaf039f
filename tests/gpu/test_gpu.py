"""What only a GPU can show. The same tests run on the CPU, so that they work on the day that they meet a GPU.

make test-gpu            # needs PyTorch, the packages of `make benchgpu`, and pytest
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.model.build import build_process, build_unet
from cdm_kedro.model.execution import compiled
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.sampling.model import LoadedModel
from cdm_kedro.sampling.philox import normal
from cdm_kedro.training.checkpoint import Checkpoints
from cdm_kedro.training.loop import World
from cdm_kedro.training.process import _share_job
from cdm_kedro.training.state import share
from cdm_kedro.training.trainer import Trainer
from project import ROOT
from training_jobs import BackwardFails, make_job

needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
both = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)], indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device("cuda", 0) if request.param == "cuda" else torch.device("cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 images of three classes: flat colours with some noise, which a small model learns."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("images") / "train.beton"
    labels = np.arange(64) % 3
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])[labels]
    pixels = colours[:, None, None] + rng.integers(-30, 30, (64, 64, 64, 3))
    write_beton(path, labels, 64, iter(pixels.clip(0, 255).astype(np.uint8)))
    return path


def one_step(trainer: Trainer) -> None:
    """A step on a batch that depends on its number."""
    generator, device = torch.Generator().manual_seed(trainer.step), trainer.world.device
    labels = torch.randint(0, 3, (trainer.training.batch_size,), generator=generator)
    colours = torch.eye(3)[labels][:, :, None, None] * 200
    pixels = (colours + 40 * torch.rand(len(labels), 3, 64, 64, generator=generator)).to(torch.uint8)
    trainer.train_step(pixels.to(device).contiguous(memory_format=torch.channels_last), labels.to(device))


def trained(job: Any, device: torch.device, steps: int) -> tuple[Trainer, list[str]]:
    """A trainer after some steps, and its warnings."""
    warnings: list[str] = []
    trainer = Trainer(job, World(0, 1, device), lambda event: warnings.append(event["message"]))
    for _ in range(steps):
        one_step(trainer)
    return trainer, warnings


@both
def test_killed_and_resumed_it_ends_as_uninterrupted(device: torch.device, images: Path, tmp_path: Path) -> None:
    """To the last bit on the CPU; on a GPU sums come in any order."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks"), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    if device.type == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""

    def run(folder: Path, kill_after: int | None) -> list[dict[str, Any]]:
        job = make_job(images, folder, batch_size=8, steps=8, checkpoint_steps=2, lr=1e-4)
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_text(job.model_dump_json())
        events = []
        command = [sys.executable, "-m", "plain_loader", str(folder / "job.json")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as worker:
            assert worker.stdout is not None and worker.stderr is not None
            for line in worker.stdout:
                events.append(json.loads(line))
                if events[-1]["event"] == "checkpoint" and events[-1]["step"] == kill_after:
                    worker.send_signal(signal.SIGKILL)
            said = worker.stderr.read()
        assert (worker.returncode == 0) == (kill_after is None), said
        return events

    whole = run(tmp_path / "whole", None)[-1]
    run(tmp_path / "killed", 4)
    resumed = run(tmp_path / "killed", None)
    (at,) = [event["step"] for event in resumed if event["event"] == "resumed"]
    assert at >= 4 and resumed[-1]["facts"]["device"] == whole["facts"]["device"]
    assert (whole["facts"]["device"] == "cpu") == (device.type == "cpu")
    tolerance = 0 if device.type == "cpu" else 1e-2
    losses = [[row["loss"] for row in done["curve"]] for done in (whole, resumed[-1])]
    assert losses[1] == pytest.approx(losses[0], rel=tolerance, abs=0) and len(losses[0]) == 8


@both
def test_a_failed_compilation_costs_nothing_but_speed(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout changes on a GPU; the next steps and a checkpoint's tensors are those of a training without it."""
    job = make_job(tmp_path, tmp_path, compile=False, precision="fp32", steps=2)
    plain, _ = trained(job, device, 2)
    monkeypatch.setattr(torch, "compile", lambda net, **_: lambda *x, **named: BackwardFails.apply(net(*x, **named)))
    training = job.params.training.model_copy(update={"compile": True})
    fallen, warnings = trained(
        job.model_copy(update={"params": job.params.model_copy(update={"training": training})}), device, 2
    )
    assert len(warnings) == 1 and "no kernel image" in warnings[0]
    for name, tensor in plain.kept.items():
        torch.testing.assert_close(tensor, fallen.kept[name], rtol=1e-3, atol=1e-4, msg=name)
        assert tensor.stride() == fallen.kept[name].stride()


@both
def test_one_process_of_a_group_takes_the_same_steps(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL on a GPU: buckets of gradients, accumulation without synchronization, sums, objects, checkpoints."""
    job = make_job(tmp_path, tmp_path, batch_size=8, microbatch=4, precision="fp32", steps=2)
    alone, _ = trained(job, device, 2)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        monkeypatch.setattr(World, "share", lambda self, net, share=World.share: share(World(0, 2, device), net))
        together, warnings = trained(job, device, 2)
        assert isinstance(together.shared, nn.parallel.DistributedDataParallel) and not warnings
        for name, tensor in alone.kept.items():
            torch.testing.assert_close(tensor, together.kept[name], rtol=1e-3, atol=1e-4, msg=name)
        assert _share_job("job", World(0, 1, device)) == ("job", 0)
        found = share((2, dict(together.kept), {"curve": [1]}), 0, device)
        assert found is not None and found[0] == 2 and found[2] == {"curve": [1]}
        assert all(torch.equal(found[1][name], tensor) for name, tensor in together.kept.items())
        del together.shared, together.forward  # see training/process.py
        gc.collect()
    finally:
        dist.destroy_process_group()


@both
def test_bf16_learns_as_fp32_does(device: torch.device, tmp_path: Path) -> None:
    """The mean loss of each quarter of a training: 200 steps on a GPU, 24 on the CPU."""
    steps, quarters = (200 if device.type == "cuda" else 24), {}
    for precision in ("fp32", "bf16"):
        job = make_job(tmp_path, tmp_path, batch_size=8, precision=precision, steps=10**6, class_dropout=0.0)
        trainer, _ = trained(job, device, 0)
        means = []
        for _ in range(4):
            for _ in range(steps // 4):
                one_step(trainer)
            means.append(trainer.measure()["loss"])
        quarters[precision] = means
    assert quarters["fp32"][-1] < quarters["fp32"][0]
    assert quarters["bf16"] == pytest.approx(quarters["fp32"], rel=0.05)


@both
def test_a_checkpoint_is_a_snapshot(device: torch.device, tmp_path: Path) -> None:
    """Its memory is pinned on a GPU, and the tensors may change as soon as the device has copied them."""
    checkpoints = Checkpoints(tmp_path, {})
    weight = torch.arange(1 << 20, dtype=torch.float32, device=device).view(64, 64, 16, 16)
    weight = weight.contiguous(memory_format=torch.channels_last)
    before = weight.clone()
    assert checkpoints.save(1, {"w": weight, "n": torch.tensor(5, device=device)}, {})
    checkpoints.before_change()
    weight.zero_()
    checkpoints.join()
    assert all(view.is_pinned() == (device.type == "cuda") for view in checkpoints._host.values())
    found = checkpoints.load(device)
    assert found is not None and torch.equal(found[1]["w"], before) and int(found[1]["n"]) == 5


@both
def test_noise_is_the_same_on_every_device(device: torch.device) -> None:
    indices = torch.tensor([0, 1, 70000, 2**40])
    ours = normal(3, 2, indices.to(device), 9, (3, 16, 16)).cpu()
    torch.testing.assert_close(ours, normal(3, 2, indices, 9, (3, 16, 16)), rtol=1e-4, atol=1e-5)


@pytest.fixture
def models_in_turn(device: torch.device, tmp_path: Path) -> Iterator[LoadedModel]:
    params = make_job(tmp_path, tmp_path).params
    torch.manual_seed(0)
    net = build_unet(params, 3).to(device).eval().requires_grad_(False)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)
    schedule = ReverseSchedule.respaced(build_process(params.diffusion), 6)
    settings = ModelSamplingParams.model_validate({"steps": 6, "guidance_scale": 2.0})
    yield LoadedModel("sr64", 0, params, settings, schedule, net, "fp32", device.type == "cuda")


@both
def test_cuda_graphs_change_no_sample(
    models_in_turn: LoadedModel, device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    """With guidance, whose two evaluations a step would overwrite each other's output."""
    model, samples = models_in_turn, []
    caplog.set_level("WARNING")
    labels, indices = torch.arange(4, device=device) % 3, torch.arange(4, device=device)
    low, level = model.condition(torch.zeros(4, 3, 32, 32, dtype=torch.uint8, device=device), None, indices, 0)
    graphs = model.forward  # on the CPU the network itself
    ways = [{"dynamic": False}] if device.type == "cuda" else []
    for forward in (model.net, compiled(model.net, "the network", ways), graphs):
        model.forward = forward
        samples.append([model.sample(labels, indices, 0, low, level)[0] for _ in range(3)][-1])
    for other in samples[1:]:
        torch.testing.assert_close(other, samples[0], rtol=1e-3, atol=1e-3)
    assert "going on without it" not in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_compiled_step_is_the_plain_one(tmp_path: Path) -> None:
    """With the real compiler, in both precisions."""
    device = torch.device("cuda", 0)
    for precision, tolerance in (("fp32", 1e-3), ("bf16", 5e-2)):
        losses = []
        for compile in (False, True):
            job = make_job(tmp_path, tmp_path, batch_size=8, precision=precision, compile=compile, steps=3)
            trainer, warnings = trained(job, device, 3)
            assert not warnings
            losses.append(trainer.measure()["loss"])
        assert losses[1] == pytest.approx(losses[0], rel=tolerance)
