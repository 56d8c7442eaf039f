"""Training and sampling alone, and beside a process that keeps one core busy: with one process, and with one a core.

python benchmarks/busy.py [--model base32] [--steps 40] [--images 40] [--data data/05_model_input]

Trains a demo model on the FFCV files of a project in which `preprocess` has run, through the same processes as
`kedro run`, and samples the demo's cascade with random weights. Rates are those of the measured steps, without start.
Target: at most 2 times slower beside the busy process.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cdm_kedro.params.files import read_parameters
from cdm_kedro.params.model import parse_model
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.processes.pool import usable_cores
from cdm_kedro.sampling.job import SamplingJob, prepare, run_workers
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.launch import launch
from results import record
from sampling import random_models

CONF = Path(__file__).resolve().parents[1] / "conf"


@contextlib.contextmanager
def busy(on: bool) -> Iterator[None]:
    """A process that counts for ever, or none."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if on else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def training_rate(values: dict[str, Any], model: str, data: Path, steps: int, processes: int) -> float:
    """Images a second of a short training; the first quarter of its steps warms up."""
    every = max(1, steps // 4)
    training = {**values[model]["training"], "steps": steps, "devices": processes, "log_every": every}
    params = parse_model({**values[model], "training": {**training, "warmup_steps": 0}})
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        beton = data / f"train_{params.resolution}.beton"
        job = TrainingJob(name=model, params=params, beton=str(beton), num_classes=10, workdir=folder, data={})
        launch(job, lambda event: times.append(time.monotonic()) if event["event"] == "log" else None)
    return params.training.batch_size * every * (len(times) - 1) / (times[-1] - times[0])


def sampling_rate(values: dict[str, Any], images: int, processes: int) -> float:
    """Images a second of the whole cascade, timed from the first report of progress to the last."""
    each = images // processes
    params = SampleParams.model_validate({**values["sample"], "num_samples": images, "batch_size": each})
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        models = random_models(None, [], Path(folder))
        file = prepare(SamplingJob(folder=Path(folder) / "job", models=models, params=params))

        def note(name: str, made: float) -> None:
            times.append((time.monotonic(), made))

        run_workers("cdm_kedro.sampling.worker", file, "sampling", processes, 1, note)
    return sum(made for _, made in times[1:]) / (times[-1][0] - times[0][0])


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base32")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--data", type=Path, default=Path("data/05_model_input"))
    options = parser.parse_args()
    values, _ = read_parameters(CONF, None)
    figures: dict[str, float] = {}
    for processes in (1, usable_cores()):
        for on in (False, True):
            with busy(on):
                name = f"{processes}_processes_{'beside_a_busy_one' if on else 'alone'}"
                rate = training_rate(values, options.model, options.data, options.steps, processes)
                figures[f"training_{name}_images_per_second"] = round(rate, 2)
                rate = sampling_rate(values, options.images, processes)
                figures[f"sampling_{name}_images_per_second"] = round(rate, 3)
        for work in ("training", "sampling"):
            prefix, unit = f"{work}_{processes}_processes", "images_per_second"
            alone, beside = (figures[f"{prefix}_{case}_{unit}"] for case in ("alone", "beside_a_busy_one"))
            figures[f"{prefix}_slowdown"] = round(alone / beside, 2)
    for key, figure in figures.items():
        print(f"{key}: {figure}")
    record("busy", {"model": options.model, "steps": options.steps, "images": options.images, **figures})


if __name__ == "__main__":
    main()
