"""Runs a cascade stage's training job and makes its result. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.training.job import TrainingJob, TrainingResult
from cdm_kedro.training.process import TrainingError, TrainingInterrupted, nodes_wanted, run_worker

__all__ = ["TrainingError", "TrainingInterrupted", "launch"]

RUNS_MODULES = ("cdm_kedro.training.worker",)
"""Modules that run as their own process; provenance counts them as code of whoever imports this one."""


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
