"""Trains a model of the cascade in processes of its own. It imports no torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cdm_kedro.processes.training import nodes_wanted, run_worker
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.progress import progress

RUNS_MODULES = ("cdm_kedro.training.worker",)


class TrainingResult(NamedTuple):
    """The safetensors file of float32 EMA weights, the model card, a row for each log point, and the final metrics."""

    weights: Path
    card: dict[str, Any]
    curve: list[dict[str, float]]
    summary: dict[str, float]


def launch(job: TrainingJob, on_event: Callable[[dict[str, Any]], None]) -> TrainingResult:
    """Train, showing a progress bar.

    Raises CdmError if the process failed, CdmInterrupted if a signal stopped it after it saved its state.
    """
    done = run_worker(RUNS_MODULES[0], job, on_event, nodes_wanted(), progress)
    facts, curve = done["facts"], done["curve"]
    last = curve[-1] if curve else {}
    card = {
        "stage": job.name,
        "num_classes": job.num_classes,
        "steps": job.training.steps,
        "images_seen": job.training.steps * job.training.batch_size,
        "ema_decay": job.training.ema_decay,
        "data": job.data,
        **facts,
        "final_loss": last.get("loss"),
        "images_per_second": last.get("images_per_second"),
        "params": job.params.model_dump(mode="json"),
    }
    keys = ("loss", "grad_norm", "images_per_second", "nonfinite_steps", "memory_gib")
    summary = {f"final_{key}": float(last[key]) for key in keys if key in last}
    summary |= {key: float(facts[key]) for key in ("seconds", "parameters")}
    return TrainingResult(Path(done["weights"]), card, curve, summary)
