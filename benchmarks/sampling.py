"""Cost of sampling beside the bare networks, cost of the noise, and images a second against diffusers' DDPM pipeline.

python benchmarks/sampling.py [--env ENV] [--stages NAME ...] [--steps 10] [--rounds 5] [--batch 64]

Networks have the environment's sizes and random weights. Compared things are timed in turns, and medians are taken.
Targets: a step at most 1.03 times the bare network, noise at most 0.02 of a step, at the paper's sizes (--env
imagenet). The comparison with diffusers runs where it can be imported (`pip install diffusers`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
from cdm_kedro.params.cascade import read_cascade
from cdm_kedro.params.files import read_parameters
from cdm_kedro.params.model import parse_model
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.model import LoadedModel
from cdm_kedro.sampling.philox import normal
from results import record

CLASSES = 10


def medians(rounds: int, *functions: Callable[[], object]) -> list[float]:
    """Median seconds of each function, called in turns after one warm-up each."""

    def seconds(function: Callable[[], object]) -> float:
        started = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for function in functions:
        function()
    times = [[seconds(f) for f in functions] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def random_models(env: str | None, names: list[str], folder: Path) -> dict[str, Path]:
    """Weights files of an environment's networks, random; of some names, each with those below it, or of all."""
    conf = Path(__file__).resolve().parents[1] / "conf"
    values, _ = read_parameters(conf, env)
    models = {}
    cascade = read_cascade(conf, env)
    wanted = {below.name for name in names for below in cascade.chain(name)}
    for stage in (stage for stage in cascade.models if not names or stage.name in wanted):
        params = parse_model(values[stage.name])
        models[stage.name] = folder / f"{stage.name}.safetensors"
        metadata = {"num_classes": str(CLASSES), "params": params.model_dump_json()}
        write_weights(models[stage.name], build_unet(params, CLASSES).state_dict(), metadata)
    return models


def step_cost(cascade: Cascade, model: LoadedModel, rounds: int) -> dict[str, float]:
    """Seconds of a sampling step, of the bare network, of a step's noise, and their ratios."""
    side, low_side = model.params.resolution, model.params.low_resolution
    count = cascade.batch_size_of(model)
    labels = torch.arange(count, device=cascade.device) % CLASSES
    indices = torch.arange(count, device=cascade.device)
    low = level = None
    if low_side is not None:
        image = torch.zeros(count, 3, low_side, low_side, dtype=torch.uint8, device=cascade.device)
        low, level = model.condition(image, None, indices, 0)
    x = normal(0, 0, indices, 0, (3, side, side)).contiguous(memory_format=torch.channels_last)
    cond = model.schedule.noise_cond.to(cascade.device)[:1].expand(count)
    steps = len(model.schedule)

    def trajectory() -> None:
        model.sample(labels, indices, 0, low, level, lambda name, n: None)

    @torch.no_grad()
    def bare() -> None:
        for _ in range(steps):
            with model.autocast():
                model.forward(x, cond, labels, low, level)

    def noise() -> None:
        for i in range(steps):
            normal(0, 0, indices, i, (3, side, side))

    whole, network, drawn = (seconds / steps for seconds in medians(rounds, trajectory, bare, noise))
    return {
        "batch": count,
        "step_ms": whole * 1e3,
        "network_ms": network * 1e3,
        "noise_ms": drawn * 1e3,
        "step_over_network": whole / network,
        "noise_share_of_step": drawn / whole,
    }


def against_diffusers(cascade: Cascade, model: LoadedModel, rounds: int) -> dict[str, Any] | None:
    """Images a second of both at the same widths, depth, steps, batch and precision; None where it is not installed."""
    try:
        import diffusers
        from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    except ImportError:
        return None
    unet, side, steps = model.params.unet, model.params.resolution, len(model.schedule)
    widths = tuple(unet.channels * mult for mult in unet.channel_mult)
    sides = [side // 2**i for i in range(len(widths))]
    attended = [s in unet.attention_resolutions for s in sides]
    theirs = UNet2DModel(
        sample_size=side,
        block_out_channels=widths,
        layers_per_block=unet.num_res_blocks,
        norm_num_groups=8,
        attention_head_dim=widths[-1] // unet.num_heads,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attended),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)),
    )
    theirs = theirs.to(cascade.device, memory_format=torch.channels_last).eval()
    pipeline = DDPMPipeline(theirs, DDPMScheduler(num_train_timesteps=model.params.diffusion.timesteps))
    pipeline.set_progress_bar_config(disable=True)
    count = cascade.batch_size
    labels = torch.arange(count) % CLASSES

    def ours_run() -> None:
        cascade.run(labels, torch.arange(count), 0)

    def theirs_run() -> None:
        with model.autocast():
            pipeline(batch_size=count, num_inference_steps=steps, output_type="np")

    x = torch.randn(count, 3, side, side, device=cascade.device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def theirs_bare() -> None:
        for _ in range(steps):
            with model.autocast():
                theirs(x, 1)

    ours, other, bare = medians(rounds, ours_run, theirs_run, theirs_bare)
    return {
        "version": diffusers.__version__,
        "steps": steps,
        "batch": count,
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "diffusers_parameters": sum(p.numel() for p in theirs.parameters()),
        "images_per_second": count / ours,
        "diffusers_images_per_second": count / other,
        "times_as_fast": other / ours,
        "diffusers_step_over_network": other / bare,
    }


def main() -> None:
    """Run and print; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default=None)
    parser.add_argument("--stages", nargs="*", default=[], help="measure these and those below them; default all")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", default="64", help="at the lowest resolution; auto on CUDA")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--name", default="sampling", help="of the JSON in benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = random_models(options.env, options.stages, Path(folder))
        settings = {
            "num_samples": 1,
            "batch_size": "auto" if options.batch == "auto" else int(options.batch),
            "precision": options.precision,
            "stages": {name: {"steps": options.steps} for name in models},
        }
        cascade = Cascade.from_files(models, SampleParams.model_validate(settings))
        base_settings = {**settings, "stages": {next(iter(models)): {"steps": options.steps}}}
        lowest = next(iter(models))
        base = Cascade.from_files({lowest: models[lowest]}, SampleParams.model_validate(base_settings))
    cuda = torch.cuda.is_available()
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "torch": str(torch.__version__),
        "env": options.env or "base",
        "precision": options.precision,
        "stages": {model.name: step_cost(cascade, model, options.rounds) for model in cascade.models},
        "diffusers": against_diffusers(base, base.models[0], options.rounds),
    }
    print(f"{result['device']}, {options.precision}, networks of {result['env']}")
    print(f"{'stage':10}{'batch':>6}{'step ms':>10}{'network ms':>12}{'step/network':>14}{'noise/step':>12}")
    for name, row in result["stages"].items():
        print(
            f"{name:10}{row['batch']:>6}{row['step_ms']:>10.2f}{row['network_ms']:>12.2f}"
            f"{row['step_over_network']:>14.3f}{row['noise_share_of_step']:>12.3f}"
        )
    other = result["diffusers"]
    if other:
        print(
            f"{lowest}, {other['parameters']:,} parameters, against diffusers {other['version']}'s DDPMPipeline, "
            f"{other['diffusers_parameters']:,} parameters, {other['steps']} steps, batch {other['batch']}: "
            f"{other['images_per_second']:.2f} against {other['diffusers_images_per_second']:.2f} images/s, "
            f"{other['times_as_fast']:.2f} times as fast"
        )
    else:
        print("diffusers is not installed: not compared")
    record(options.name, result)


if __name__ == "__main__":
    main()
