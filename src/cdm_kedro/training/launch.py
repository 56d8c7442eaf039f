"""Runs a cascade stage's training job and makes its result. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.processes.training import TrainingError, TrainingInterrupted, nodes_wanted, run_worker
from cdm_kedro.training.job import TrainingJob, TrainingResult

__all__ = ["TrainingError", "TrainingInterrupted", "launch"]

RUNS_MODULES = ("cdm_kedro.training.worker",)
"""Modules that run as their own process; provenance counts them as code of whoever imports this one."""


def progress(metrics: dict[str, float]) -> dict[str, str]:
    """What the progress bar says beside the images a second."""
    shown = {"loss": f"{metrics.get('loss', float('nan')):.4f}", "TFLOP/s": f"{metrics['tflops']:.3g}"}
    if "peak_share" in metrics:
        shown["of peak"] = f"{metrics['peak_share']:.0%}"
    shown |= {"wait": f"{metrics['loader_wait_share']:.0%}", "GiB": f"{metrics['memory_gib']:.1f}"}
    minutes = metrics["eta_seconds"] / 60
    return shown | {"left": f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"}


def launch(job: TrainingJob, on_event: Callable[[dict[str, Any]], None]) -> TrainingResult:
    """Train, showing a progress bar.

    Args:
        job: what to train.
        on_event: called with every event of the training process.

    Raises:
        TrainingError: the process failed.
        TrainingInterrupted: it was stopped after saving.
    """
    training = job.params.training
    done = run_worker(
        RUNS_MODULES[0],
        job.model_dump_json(),
        Path(job.workdir),
        name=job.stage,
        devices=training.devices,
        nodes=nodes_wanted(),
        steps=training.steps,
        batch_size=training.batch_size,
        on_event=on_event,
        shown=progress,
    )
    return _result(job, done)


def _result(job: TrainingJob, done: dict[str, Any]) -> TrainingResult:
    facts, curve = done["facts"], done["curve"]
    last = curve[-1] if curve else {}
    params = job.params
    card = {
        "stage": job.stage,
        "num_classes": job.num_classes,
        "steps": params.training.steps,
        "images_seen": params.training.steps * params.training.batch_size,
        "ema_decay": params.training.ema_decay,
        "data": job.data,
        **facts,
        "final_loss": last.get("loss"),
        "images_per_second": last.get("images_per_second"),
        "params": params.model_dump(mode="json"),
    }
    keys = ("loss", "grad_norm", "images_per_second", "nonfinite_steps", "memory_gib")
    summary = {f"final_{key}": float(last[key]) for key in keys if key in last}
    summary["seconds"] = float(facts["seconds"])
    summary["parameters"] = float(facts["parameters"])
    return TrainingResult(Path(done["weights"]), card, curve, summary)
