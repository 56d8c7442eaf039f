"""Training and sampling speed on one GPU at Appendix B's sizes, unattended, within a time budget.

    make benchgpu                                                   # or, on a machine with little beside PyTorch:
    PYTHONPATH=src:<wheels, unpacked> python benchmarks/gpu_suite.py --guided <checkout of openai/guided-diffusion>

It needs PyTorch and packaging/benchgpu-requirements.txt. For every model at its real microbatch: the real trainer's
images a second, TFLOP/s, their share of what a large matmul reaches in the same run, peak memory against the estimate
and the time outside the network; the same step of guided-diffusion (with its checkout) and of diffusers (where it is
installed); a sampling step over the bare network, with CUDA graphs and without; and the loader to the device.

The 32-to-64 model comes first. The parts run in a process of their own, which is ended where a part fails or takes more
than half of the time that is left; that is recorded, and the suite goes on. What the budget has no room for is named.
Compiled kernels are kept in .benchgpu, so `--models` in a second call finds them. Every part is in
benchmarks/results/gpu_suite.json as soon as it ends, beside those that earlier calls measured on the same device.
`--toy` runs all parts on the CPU at the sizes of the tests.
"""

import argparse
import gc
import importlib.util
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import parts
import training
from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.model.build import build_process, build_unet
from cdm_kedro.model.execution import compiled
from cdm_kedro.model.sizes import model_size
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.sampling.model import LoadedModel
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.loop import World
from cdm_kedro.training.memory import step_bytes
from cdm_kedro.training.speed import achieved, peak_tflops
from cdm_kedro.training.trainer import Trainer
from plain_loader import loader_class
from results import FOLDER, record

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("sr64", "base32", "sr256", "sr128")
CLASSES = 1000
Figures = parts.Figures


def seconds_of(function: Callable[[], object], calls: int, device: torch.device) -> float:
    """Seconds of one call, from the first to the device's end of the last."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    begun = time.perf_counter()
    for _ in range(calls):
        function()
    wait()
    return (time.perf_counter() - begun) / calls


def matmul_tflops(device: torch.device, side: int) -> float:
    """TFLOP/s of a bfloat16 matmul of two square matrices, the best of ten turns."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    turn = partial(torch.matmul, a, b)
    turn()
    return 2 * side**3 / min(seconds_of(turn, 10, device) for _ in range(10)) / 1e12


def matmul_part(device: torch.device, side: int) -> Figures:
    """:func:`matmul_tflops` as a part."""
    return {"tflops": matmul_tflops(device, side)}


def training_part(
    params: TrainedModelParams, micro: int, device: torch.device, compile: bool, steps: int, peak: float
) -> Figures:
    """The real trainer's step on one microbatch, and what of it lies outside the network."""
    warnings: list[str] = []
    changed = {"steps": 10**6, "batch_size": micro, "microbatch": None, "compile": compile, "warmup_steps": 0}
    changed["selection"] = None  # it is no part of a step, and the paper's models have one
    params = params.model_copy(update={"training": params.training.model_copy(update=changed)})
    images = torch.randint(0, 256, (micro, params.resolution, params.resolution, 3), device=device).to(torch.uint8)
    images, labels = images.permute(0, 3, 1, 2), torch.arange(micro, device=device) % CLASSES
    with tempfile.TemporaryDirectory() as folder:
        job = TrainingJob(name="b", params=params, num_classes=CLASSES, beton="", workdir=folder, data={})
        trainer = Trainer(job, World(0, 1, device), lambda event: warnings.append(event.get("message", "")))
        begun = time.perf_counter()
        for _ in range(3):
            trainer.train_step(images, labels)
        seconds_of(lambda: None, 1, device)
        compiling = time.perf_counter() - begun
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        whole = seconds_of(lambda: trainer.train_step(images, labels), steps, device)
        measured = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
        forward, seen = trainer.forward, []
        trainer.forward = lambda *inputs, **named: seen.append((inputs, named)) or forward(*inputs, **named)
        trainer.train_step(images, labels)
        trainer.forward = forward
        inputs, named = seen[0]

        def network() -> None:
            with torch.autocast(device.type, torch.bfloat16):
                out = forward(*inputs, **named)
            out.backward(torch.ones_like(out))
            trainer.optimizer.zero_grad(set_to_none=True)

        def update() -> None:
            trainer.optimizer.step()
            trainer.ema.update()

        network()
        bare = seconds_of(network, steps, device)
        trainer.accumulate(images, labels)
        updating = seconds_of(update, steps, device)
        estimate = step_bytes(params, CLASSES, micro, "bf16", compile)
        found = {
            "microbatch": micro,
            "images/s": micro / whole,
            **achieved(trainer.forward_flops, micro / whole, 1, peak),
            "ms a step": 1e3 * whole,
            "share outside the network": 1 - bare / whole,
            "ms of optimizer and average": 1e3 * updating,
            "recomputes": trainer.net.checkpointing,
            "compiled": compile,
            "seconds to compile": compiling,
            "warnings": [message for message in warnings if message],
            "estimated GiB": estimate / 2**30,
        }
        found["share of matmul"] = found.pop("peak_share")
        known = peak_tflops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        if known:
            found["share of data sheet"] = found["tflops"] / known
        return found if measured is None else found | {"measured GiB": measured / 2**30}


def peers_part(
    params: TrainedModelParams, micro: int, guided: Path | None, device: torch.device, compile: bool, steps: int
) -> Figures:
    """A bare training step of each peer at the same shape in its faster layout, alone on the device."""
    plain = params.model_copy(update={"unet": params.unet.model_copy(update={"detail_std": None})})
    fp16 = device.type == "cuda"  # guided-diffusion's own mixed precision, which a CPU does not have
    makers: dict[str, dict[str, Callable[[], Callable[[], None]]]] = {}  # of a step, by peer and memory layout
    widths = [params.unet.channels * mult for mult in params.unet.channel_mult]
    if guided is not None and all(width % 32 == 0 for width in widths):
        net = partial(training.Guided, guided, plain, fp16)
        makers["guided-diffusion"] = {
            name: lambda layout=layout: training.training_step(net(), plain, micro, device, False, not fp16, layout)
            for name, layout in (("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last))
        }
    if importlib.util.find_spec("diffusers"):
        theirs = partial(training.Diffusers, plain)
        makers["diffusers"] = {"": lambda: training.training_step(theirs(), plain, micro, device, compile)}
    found: Figures = {"microbatch": micro}
    flops = model_size(plain, CLASSES).forward_flops
    for name, layouts in makers.items():
        rates: dict[str, float] = {}
        for layout, make in layouts.items():
            try:
                step = make()
                seconds_of(step, 3, device)
                rates[layout] = micro / seconds_of(step, steps, device)
            except torch.OutOfMemoryError:
                found[f"{name} {layout}".strip()] = "does not fit"
            step = None  # type: ignore[assignment]
            emptied(device)
        if rates:
            best = max(rates, key=lambda layout: rates[layout])
            tflops = achieved(flops, rates[best], 1, None)["tflops"]
            found |= {f"{name} images/s": rates[best], f"{name} tflops": tflops}
            found |= {f"{name} {layout}, ms a step": 1e3 * micro / rate for layout, rate in rates.items() if layout}
    return found if makers else found | {"left out": "neither a checkout of guided-diffusion nor diffusers is there"}


def sampling_part(
    params: TrainedModelParams, count: int, device: torch.device, compile: bool, steps: int, rounds: int
) -> Figures:
    """A step of ancestral sampling over the bare network, with CUDA graphs and without."""
    continuous = params.diffusion.noise_conditioning == "continuous"
    schedule = ReverseSchedule.respaced(build_process(params.diffusion), steps, continuous=continuous)
    net = build_unet(params, CLASSES).to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.to(torch.bfloat16)
    settings = ModelSamplingParams.model_validate({"steps": steps})
    model = LoadedModel("benchmark", 0, params, settings, schedule, net, "bf16", compile)
    labels, indices = torch.arange(count, device=device) % CLASSES, torch.arange(count, device=device)
    low = level = None
    if params.low_resolution is not None:
        side = params.low_resolution
        image = torch.zeros(count, 3, side, side, dtype=torch.uint8, device=device)
        low, level = model.condition(image, None, indices, 0)
    x = torch.randn(count, 3, params.resolution, params.resolution, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    cond = schedule.noise_cond.to(device)[:1].expand(count)
    ways = {"plain": model.forward}
    if compile:
        ways = {"graphs": model.forward, "compiled": compiled(net, "the network", [{"dynamic": False}])}
    found: Figures = {"batch": count, "warnings": []}
    handler = logging.Handler(logging.WARNING)  # hears when graphs or compilation fail
    handler.emit = lambda record: found["warnings"].append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("cdm_kedro").addHandler(handler)

    def trajectory() -> None:
        model.sample(labels, indices, 0, low, level)

    @torch.no_grad()
    def bare() -> None:
        for _ in range(steps):
            model.evaluate(x, cond, labels if params.unet.class_cond else None, low, level)

    for name, forward in ways.items():
        model.forward = forward
        begun = time.perf_counter()
        trajectory(), bare()
        seconds_of(lambda: None, 1, device)
        found[f"{name}, seconds to compile"] = time.perf_counter() - begun
        times = [(seconds_of(trajectory, 1, device), seconds_of(bare, 1, device)) for _ in range(rounds)]
        whole, network = (statistics.median(column) / steps for column in zip(*times, strict=True))
        found |= {f"{name}, ms a step": 1e3 * whole, f"{name}, step over network": whole / network}
    logging.getLogger("cdm_kedro").removeHandler(handler)
    return found


def loader_part(side: int, batch: int, stored: int, device: torch.device, batches: int) -> Figures:
    """Batches from a file that the page cache holds to the device: images and bytes a second."""
    with tempfile.TemporaryDirectory() as folder:
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        path = Path(folder, "train.beton")
        write_beton(path, np.arange(stored) % CLASSES, side, (np.roll(noise, i, axis=0) for i in range(stored)))
        kind = loader_class()
        loader = kind(path, batch, seed=0, device=device, workers=min(4, os.cpu_count() or 1))
        taken: list[Tensor] = []

        def take() -> None:
            taken[:] = next(loader)

        try:
            seconds_of(take, 8, device)
            rate = batch / seconds_of(take, batches, device)
        finally:
            loader.close()
        return {"loader": kind.__name__, "batch": batch, "images/s": rate, "GB/s": rate * side * side * 3 / 1e9}


def emptied(device: torch.device) -> None:
    """Give back what the last part held."""
    gc.collect()
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def alone(device: torch.device, part: parts.Part) -> Figures:
    """Run a part with what the trainer sets, and clean up after it."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    found = part()
    emptied(device)
    return found


def against_peers(found: Figures) -> Figures:
    """The trainer's whole step over each peer's bare one, where both were measured."""
    ratios = {}
    for name, figures in found.items():
        ours = found.get(name.replace(" peers", " training"), {}).get("images/s")
        if name.endswith(" peers") and ours:
            rates = {key.removesuffix(" images/s"): v for key, v in figures.items() if key.endswith(" images/s")}
            ratios |= {f"{name.removesuffix(' peers')} over {peer}": ours / rate for peer, rate in rates.items()}
    return ratios


def main() -> None:
    """Run at Appendix B's sizes on the GPU, or at toy size on the CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guided", type=Path, help="checkout of openai/guided-diffusion")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="measure these, in this order")
    parser.add_argument("--minutes", type=float, default=7.5, help="budget")
    parser.add_argument("--toy", action="store_true", help="on the CPU at the sizes of the tests, not compiled")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder of gpu_suite.json, or gpu_suite_toy.json")
    options = parser.parse_args()
    toy = options.toy
    if not toy and not torch.cuda.is_available():
        raise SystemExit("no GPU: --toy runs on the CPU, and `make bench` measures the demo's sizes there")
    device = torch.device("cpu") if toy else torch.device("cuda", 0)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(ROOT / ".benchgpu/inductor"))
    begun = time.monotonic()
    steps, rounds, side = (2, 1, 128) if toy else (20, 5, 8192)
    worker = parts.Worker()
    peak = worker.run(partial(matmul_part, device, side), 120).get("tflops")
    if peak is None:
        raise SystemExit("a product of two matrices fails on this device")
    about = {
        "device": "CPU, toy sizes" if toy else torch.cuda.get_device_name(device),
        "torch": str(torch.__version__),
        "bf16 matmul TFLOP/s": peak,
    }
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    models = {name: training.stage_params("test" if toy else "imagenet", name) for name in options.models}
    every: dict[str, parts.Part] = {}
    for name, params in models.items():
        micro = 2 if toy else params.training.microbatch or params.training.batch_size
        every[f"{name} training"] = partial(training_part, params, micro, device, not toy, steps, peak)
        every[f"{name} peers"] = partial(peers_part, params, micro, options.guided, device, not toy, steps)
        every[f"{name} sampling"] = partial(sampling_part, params, micro, device, not toy, 10 // rounds, rounds)
    for side in (64, 256):
        stored, batch = (64, 8) if toy else (2**28 // (3 * side * side), 64)
        every[f"loader {side}"] = partial(loader_part, side, batch, stored, device, 4 if toy else 200)
    # The first model, its peers, and the loader; then every model's training; then the rest.
    first = next(iter(models))
    order = [n for n in every if n.startswith((first, "loader"))] + [n for n in every if n.endswith(" training")]
    every = {name: partial(alone, device, every[name]) for name in dict.fromkeys([*order, *every])}
    name = "gpu_suite_toy" if toy else "gpu_suite"
    file = options.results / f"{name}.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def save(found: Figures) -> None:
        all_parts = parts.merged(before, about, found)
        figures = {**about, "parts": all_parts, "whole step over bare step": against_peers(all_parts)}
        record(name, figures, options.results, quiet=True)

    found = parts.run_parts(every, options.minutes - (time.monotonic() - begun) / 60, save, worker)
    for key, value in against_peers(found).items():
        print(f"{key:40}{value:8.2f}")
    if any("failed" in figures for figures in found.values()):
        raise SystemExit("a part failed")


if __name__ == "__main__":
    main()
