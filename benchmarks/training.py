"""Training step of our U-Net against diffusers' UNet2DModel and guided-diffusion's, and the trainer's overhead.

The models have the same shape, the same loss, optimizer and precision, and take turns in one process.

    python benchmarks/training.py --guided <checkout of openai/guided-diffusion>

diffusers is compared where it can be imported, guided-diffusion where its checkout is given. Prints ratios of images a
second, ours over theirs, and writes them to benchmarks/results/training.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.diffusion import objective
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.loop import World
from cdm_kedro.training.muon import Muon
from cdm_kedro.training.trainer import Trainer
from results import record

ROOT = Path(__file__).resolve().parents[1]
CLASSES = 10


def stage_params(env: str, name: str, **unet: Any) -> TrainedModelParams:
    """A stage of one of the project's environments, with parts of its U-Net replaced."""
    from cdm_kedro.params.files import read_parameters

    values, _ = read_parameters(ROOT / "conf", env)
    raw = dict(values[name])
    raw["unet"] = {**raw["unet"], **unet}
    return TrainedModelParams.model_validate(raw)


class Guided(nn.Module):
    """guided-diffusion's U-Net behind our calling convention."""

    def __init__(self, checkout: Path, params: TrainedModelParams, fp16: bool = False) -> None:
        super().__init__()
        if "guided_diffusion" not in sys.modules:  # its __init__ is a docstring; its modules import one another
            sys.path.insert(0, str(checkout))
        from guided_diffusion.unet import UNetModel

        unet = params.unet
        self.net = UNetModel(
            image_size=params.resolution,
            in_channels=6 if params.low else 3,
            model_channels=unet.channels,
            out_channels=6 if params.diffusion.learned_variances else 3,
            num_res_blocks=unet.num_res_blocks,
            attention_resolutions=tuple(params.resolution // side for side in unet.attention_resolutions),
            dropout=unet.dropout,
            channel_mult=unet.channel_mult,
            num_classes=CLASSES,
            num_heads=unet.num_heads,
            use_scale_shift_norm=unet.scale_shift_norm,
            resblock_updown=bool(unet.resblock_updown),
            use_fp16=fp16,
        )
        if fp16:
            self.net.convert_to_fp16()

    def forward(self, x: Tensor, t: Tensor, y: Tensor, low: Tensor | None = None) -> Tensor:
        """Six or three channels of noise from noisy images, steps, classes and low-resolution images."""
        if low is not None:
            x = torch.cat((x, nn.functional.interpolate(low, x.shape[-2:], mode="bilinear")), 1)
        return self.net(x, t, y=y)


class Diffusers(nn.Module):
    """diffusers' UNet2DModel of the same shape behind our calling convention."""

    def __init__(self, params: TrainedModelParams) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        unet, levels = params.unet, len(params.unet.channel_mult)
        attends = [params.resolution // 2**level in unet.attention_resolutions for level in range(levels)]
        widths = [unet.channels * mult for mult in unet.channel_mult]
        groups = 32 if all(width % 32 == 0 for width in widths) else min(8, unet.channels)
        self.net = UNet2DModel(
            sample_size=params.resolution,
            in_channels=6 if params.low else 3,
            out_channels=6 if params.diffusion.learned_variances else 3,
            block_out_channels=tuple(widths),
            layers_per_block=unet.num_res_blocks,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
            attention_head_dim=widths[-1] // unet.num_heads,
            norm_num_groups=groups,
            resnet_time_scale_shift="scale_shift" if unet.scale_shift_norm else "default",
            dropout=unet.dropout,
            num_class_embeds=CLASSES,
            add_attention=unet.middle_attention,
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor, low: Tensor | None = None) -> Tensor:
        """Six or three channels of noise from noisy images, steps, classes and low-resolution images."""
        if low is not None:
            x = torch.cat((x, nn.functional.interpolate(low, x.shape[-2:], mode="bilinear")), 1)
        return self.net(x, t, class_labels=y).sample


class Ours(nn.Module):
    """Our U-Net behind the same calling convention; levels and s where the stage has them."""

    def __init__(self, params: TrainedModelParams) -> None:
        super().__init__()
        self.net = build_unet(params, CLASSES)
        self.continuous = params.diffusion.noise_conditioning == "continuous"

    def forward(self, x: Tensor, t: Tensor, y: Tensor, low: Tensor | None = None) -> Tensor:
        """Six or three channels of noise from noisy images, steps, classes and low-resolution images."""
        cond = (t.float() + 1) / 5000 if self.continuous else t.float()
        return self.net(x, cond, y, low, torch.zeros_like(cond) if self.net.aug_emb is not None else None)


def training_step(
    model: nn.Module,
    params: TrainedModelParams,
    batch: int,
    device: torch.device,
    compile_it: bool,
    autocast: bool = True,
    layout: torch.memory_format | None = None,
) -> Callable[[], None]:
    """One training step on fixed data: predict the noise, mean squared error, fused Adam."""
    if layout is None:  # on the CPU each in the layout that it trains in: theirs contiguous, ours as the trainer has it
        fast = device.type == "cuda" or isinstance(model, Ours)
        layout = torch.channels_last if fast else torch.contiguous_format
    model = model.to(device, memory_format=layout).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    side = params.training.crop or params.resolution
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, side, side, generator=generator).to(device, memory_format=layout)
    y = torch.randint(0, CLASSES, (batch,), generator=generator).to(device)
    t = torch.randint(0, params.diffusion.timesteps, (batch,), generator=generator).to(device)
    low = None
    if params.low_resolution is not None:
        small = side * params.low_resolution // params.resolution
        low = torch.randn(batch, 3, small, small, generator=generator).to(device)
    forward = torch.compile(model) if compile_it else model
    recomputes = isinstance(
        model, Guided
    )  # its attention always does, in the backward pass, without restoring autocast

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            out = forward(x, t, y, low) if low is not None else forward(x, t, y)
            loss = (out[:, :3].float() - x).square().mean()
            if recomputes:
                loss.backward()
        if not recomputes:
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def take_turns(steps: dict[str, Callable[[], None]], rounds: int, device: torch.device, per_turn: int = 1) -> Any:
    """Seconds a step of each, one list entry a round; every contender runs once a round, in rotating order."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(3):
            step()
    names = list(steps)
    for turn in tqdm(range(rounds), desc="rounds"):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if device.type == "cuda":
                torch.cuda.synchronize()
            begun = time.perf_counter()
            for _ in range(per_turn):
                steps[name]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append((time.perf_counter() - begun) / per_turn)
    return times


def ratio(theirs: list[float], ours: list[float]) -> float:
    """Median over rounds of their time over ours of the same round."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def compare(
    params: TrainedModelParams,
    batch: int,
    guided: Path | None,
    rounds: int,
    device: torch.device,
    compile_them: bool = False,
    per_turn: int = 1,
) -> dict[str, Any]:
    """Ours against the peers at one stage's shape; guided-diffusion is never compiled.

    Returns:
        Median milliseconds a step of each contender and ratios of speed, ours over theirs.
    """
    steps = {"ours": training_step(Ours(params), params, batch, device, compile_them)}
    if importlib.util.find_spec("diffusers"):
        steps["diffusers"] = training_step(Diffusers(params), params, batch, device, compile_them)
    if guided is not None and all(params.unet.channels * mult % 32 == 0 for mult in params.unet.channel_mult):
        fp16 = device.type == "cuda"  # its own mixed precision; on the CPU it has none, so autocast as for the others
        steps["guided-diffusion"] = training_step(
            Guided(guided, params, fp16), params, batch, device, False, autocast=not fp16
        )
    times = take_turns(steps, rounds, device, per_turn)
    found: dict[str, Any] = {f"{name} ms": 1e3 * statistics.median(t) for name, t in times.items()}
    found["ours images/s"] = batch / statistics.median(times["ours"])
    found |= {f"ours over {name}": ratio(t, times["ours"]) for name, t in times.items() if name != "ours"}
    return found


def real_job(params: TrainedModelParams, folder: Path, steps: int, batch: int, log_every: int) -> TrainingJob:
    """A job of the real trainer on images of noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (max(256, batch), params.resolution, params.resolution, 3), dtype=np.uint8)
    write_beton(folder / "train.beton", np.arange(len(images)) % CLASSES, params.resolution, images)
    changed = {
        "steps": steps,
        "batch_size": batch,
        "microbatch": None,
        "log_every": log_every,
        "checkpoint_steps": max(1, steps // 2),
        "warmup_steps": 0,
    }
    training = params.training.model_copy(update=changed)
    return TrainingJob(
        name="benchmark",
        params=params.model_copy(update={"training": training}),
        beton=str(folder / "train.beton"),
        num_classes=CLASSES,
        workdir=str(folder),
        data={},
    )


def overhead(params: TrainedModelParams, steps: int) -> dict[str, float]:
    """Share of the real trainer's time on the CPU that is not forward, loss, backward or optimizer."""
    inside = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                inside[0] += time.perf_counter() - begun

        return call

    marks: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        job = real_job(params, Path(folder), steps, params.training.batch_size, 25)
        trainer = Trainer(job, World(0, 1, torch.device("cpu")), lambda event: None)
        trainer.forward = timed(trainer.forward)
        trainer.optimizer.step = timed(trainer.optimizer.step)  # type: ignore[method-assign]
        step = trainer.train_step

        def marked(images: Tensor, labels: Tensor) -> None:
            step(images, labels)
            marks.append((time.perf_counter(), inside[0]))

        trainer.train_step = marked  # type: ignore[method-assign]
        with (
            patch.object(Tensor, "backward", timed(Tensor.backward)),
            patch.object(objective, "hybrid_loss", timed(objective.hybrid_loss)),
            patch.object(objective, "simple_loss", timed(objective.simple_loss)),
        ):
            trainer.run()
    skip = len(marks) // 5  # the first steps warm up
    total, useful = marks[-1][0] - marks[skip][0], marks[-1][1] - marks[skip][1]
    return {"ms a step": 1e3 * total / (len(marks) - 1 - skip), "overhead share": 1 - useful / total}


def optimizers(params: TrainedModelParams, rounds: int) -> dict[str, float]:
    """Muon, which the demo trains with, beside PyTorch's fused Adam, on the same network and gradients."""
    steps: dict[str, Callable[[], None]] = {}

    def stepping(optimizer: torch.optim.Optimizer, net: nn.Module) -> Callable[[], None]:
        gradients = [(p, torch.randn_like(p)) for p in net.parameters()]
        optimizer.found_inf = torch.zeros(())

        def step() -> None:
            for p, gradient in gradients:
                p.grad = gradient
            optimizer.step()

        return step

    for name, make in (("muon", Muon), ("adam", lambda net, lr: torch.optim.Adam(net.parameters(), lr, fused=True))):
        net = build_unet(params, CLASSES).to(memory_format=torch.channels_last)
        steps[name] = stepping(make(net, 1e-3), net)
    times = take_turns(steps, rounds, torch.device("cpu"))
    found = {f"{name} ms a step": 1e3 * statistics.median(t) for name, t in times.items()}
    return found | {"muon over fused adam, time": ratio(times["muon"], times["adam"])}


def main() -> None:
    """Run at demo sizes on the CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guided", type=Path, help="checkout of openai/guided-diffusion")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--stages", nargs="+", default=["base32", "sr64", "sr128"])
    parser.add_argument("--steps", type=int, default=60, help="of the real trainer, for its overhead")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, results = torch.device("cpu"), {}
    for name in options.stages:
        params = stage_params("base", name)
        batch = params.training.batch_size
        print(f"{name}: batch {batch}, {params.training.crop or params.resolution} px, bf16, {options.threads} threads")
        plain = stage_params("base", name, detail_std=None)  # the peers know no detail preconditioning
        found = compare(plain, batch, options.guided, options.rounds, device)
        found |= {f"trainer {k}": v for k, v in overhead(params, options.steps).items()}
        found |= optimizers(params, options.rounds)
        for key, value in found.items():
            print(f"  {key:32}{value:10.3f}")
        results[name] = found
    about = {
        "torch": torch.__version__,
        "threads": options.threads,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    record("training", {"about": about, "stages": results})


if __name__ == "__main__":
    main()
