"""Runs a training job in processes of its own and passes their events on. It imports no torch."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.processes.launch import processes_wanted, run_module, slurm_nodes, visible_gpus

log = logging.getLogger(__name__)


def nodes_wanted() -> int:
    """Number of machines that train together: what torchrun's PET_NNODES says, else the nodes of the Slurm job.

    Raises CdmError where they say a range of nodes, or no meeting point.
    """
    nodes = os.environ.get("PET_NNODES")
    if nodes is None:
        return slurm_nodes()
    if not nodes.isdecimal() or nodes == "0":
        raise CdmError(f"PET_NNODES is {nodes!r}; give the number of nodes, for all of them share the batch")
    if nodes != "1" and not os.environ.get("PET_RDZV_ENDPOINT"):
        raise CdmError(f"PET_NNODES is {nodes} but PET_RDZV_ENDPOINT is not set; give this node's host:port")
    return int(nodes)


def run_worker(
    module: str,
    job: Any,
    on_event: Callable[[dict[str, Any]], None],
    nodes: int = 1,
    shown: Callable[[dict[str, float]], dict[str, str]] = lambda metrics: {"loss": f"{metrics['loss']:.4f}"},
) -> dict[str, Any]:
    """Run ``python -m module job.json``, alone or under torchrun, showing a progress bar.

    The worker's events are ``log`` and ``resumed`` with the step, ``warning`` with a message, and ``done`` at the end.
    Returns the ``done`` event. Raises CdmError if the process failed, CdmInterrupted if a signal stopped it after
    it saved its state. ``job``: a ``training.job.Job``, whose JSON text is written to its work folder. ``on_event``:
    called with every event. ``nodes``: number of machines that train together. ``shown``: turns a ``log`` event's
    metrics into what the bar shows beside the images per second.
    """
    from tqdm import tqdm

    name, steps, batch_size = job.name, job.training.steps, job.training.batch_size
    job_file = Path(job.workdir) / "job.json"
    job_file.parent.mkdir(parents=True, exist_ok=True)
    job_file.write_text(job.model_dump_json(), encoding="utf-8")
    done: list[dict[str, Any]] = []
    # Compiling FFCV's readers costs seconds a start and saves microseconds a batch, which only a GPU notices.
    defaults = {} if visible_gpus() else {"NUMBA_DISABLE_JIT": "1"}
    with tqdm(total=steps * batch_size, desc=name, unit="img", unit_scale=True) as bar:

        def hear(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind in ("log", "resumed"):
                bar.n = event["step"] * batch_size
                if kind == "resumed":
                    bar.initial = bar.n
                    tqdm.write(f"{name}: resuming at step {event['step']} of {steps}", file=sys.stderr)
                else:
                    bar.set_postfix(shown(event["metrics"]), refresh=False)
                bar.refresh()
            elif kind == "warning":
                log.warning("%s: %s", name, event["message"])
            elif kind == "done":
                done.append(event)
            on_event(event)

        processes = processes_wanted(job.training.devices)
        ending = run_module(module, job_file, processes, hear, nodes=nodes, defaults=defaults)
    ending.check(f"training of {name}", "its state is saved and the next run resumes it", bool(done))
    return done[0]
