"""Everything about training speed on one GPU at Appendix B sizes, unattended, within a time budget.

    python benchmarks/gpu_suite.py --guided <checkout of openai/guided-diffusion>

For each stage: our compiled training step against compiled diffusers' and guided-diffusion's in its fp16 mode, our
share of the device's bf16 peak, and the real trainer's speed, loader wait and memory; then the loader. The 32-to-64
model comes first; a part that the budget has no room for, going by the longest part so far, is left out and named. A
part that fails is recorded with its error, and the suite goes on. Writes benchmarks/results/gpu_suite.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import loader
import training
from cdm_kedro.model.sizes import model_size
from cdm_kedro.params.model import TrainedModelParams
from cdm_kedro.training.loop import World
from cdm_kedro.training.memory import needs_checkpointing
from cdm_kedro.training.speed import achieved, peak_tflops
from cdm_kedro.training.trainer import Trainer
from results import record

BATCH = {"sr64": 48, "base32": 96, "sr256": 8, "sr128": 32}
"""Images of one forward pass: three contenders' weights and optimizers share 80 GB with one's activations."""


def step_speed(
    params: TrainedModelParams, batch: int, guided: Path | None, device: torch.device, rounds: int, compile_them: bool
) -> dict[str, Any]:
    """Our step against the peers', with the share of the device's peak."""
    cuda = device.type == "cuda"
    found = training.compare(params, batch, guided, rounds, device, compile_them, per_turn=5 if cuda else 1)
    peak = peak_tflops(torch.cuda.get_device_name(device)) if cuda else None
    flops = model_size(params, training.CLASSES).forward_flops
    return found | achieved(flops, found["ours images/s"], 1, peak)


def trainer_speed(params: TrainedModelParams, batch: int, device: torch.device, steps: int) -> dict[str, Any]:
    """The real trainer's last log row after compiling and warming up."""
    with tempfile.TemporaryDirectory() as folder:
        job = training.real_job(params, Path(folder), 2 * steps, batch, steps)
        trainer = Trainer(job, World(0, 1, device), lambda event: None)
        trainer.run()
        return {key: trainer.curve[-1][key] for key in trainer.curve[-1] if "loss" not in key and key != "eta_seconds"}


def suite(
    stages: dict[str, tuple[TrainedModelParams, int]],
    sides: list[int],
    guided: Path | None,
    device: torch.device,
    minutes: float,
    rounds: int = 5,
    steps: int = 30,
    compile_them: bool = True,
    files: int = 200,
) -> dict[str, Any]:
    """Run all parts that the budget has room for.

    Args:
        stages: name to parameters and images a forward pass.
        sides: of the loader's images.
        guided: checkout of guided-diffusion.
        device: where.
        minutes: budget.
        rounds: of every comparison.
        steps: of the trainer's log interval.
        compile_them: compile ours and diffusers'.
        files: JPEGs of the loader's comparison.

    Returns:
        Figures by part.
    """
    parts: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, (params, batch) in stages.items():
        memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
        checkpointing = needs_checkpointing(params, training.CLASSES, batch, memory)
        params = params.model_copy(update={"unet": params.unet.model_copy(update={"checkpointing": checkpointing})})
        parts[f"{name} step"] = lambda p=params, b=batch: step_speed(p, b, guided, device, rounds, compile_them)
        parts[f"{name} trainer"] = lambda p=params, b=batch: trainer_speed(p, b, device, steps)
    for side in sides:
        stored = max(256, 4096 * 64 * 64 // (side * side))
        parts[f"loader {side}"] = lambda s=side, n=stored: loader.measure(s, files, n, 64, rounds, device)
    begun, longest = time.monotonic(), 0.0
    out: dict[str, Any] = {}
    for name, part in parts.items():
        start = time.monotonic()
        if start - begun + longest > 60 * minutes:
            out[name] = {"left out": f"{(start - begun) / 60:.1f} of {minutes:g} minutes are spent"}
            continue
        try:
            out[name] = part()
        except Exception as error:  # one part's failure is a finding, not the end
            out[name] = {"failed": f"{type(error).__name__}: {error}"}
        if device.type == "cuda":
            torch._dynamo.reset()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        longest = max(longest, time.monotonic() - start)
        out[name]["seconds"] = time.monotonic() - start
        print(
            name, *(f"\n  {k:32}{v:10.3f}" if isinstance(v, float) else f"\n  {k}: {v}" for k, v in out[name].items())
        )
    return out


def main() -> None:
    """Run at Appendix B sizes on the GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guided", type=Path, help="checkout of openai/guided-diffusion")
    parser.add_argument("--minutes", type=float, default=7.5, help="budget")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU: run benchmarks/training.py and benchmarks/loader.py, which measure the demo's sizes")
    device = torch.device("cuda", 0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    stages = {name: (training.stage_params("imagenet", name), batch) for name, batch in BATCH.items()}
    found = suite(stages, [64, 256], options.guided, device, options.minutes)
    record("gpu_suite", {"device": torch.cuda.get_device_name(device), "torch": torch.__version__, "parts": found})


if __name__ == "__main__":
    main()
