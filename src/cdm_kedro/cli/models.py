"""Commands about what the models of a cascade take: parameters and operations, and time on this machine."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option

_STEPS, _WARM = 8, 3  # steps that are measured; of these, steps that may compile or fill caches
_CPU_STEP = 1e12  # floating-point operations that a step may have on a CPU, where a whole batch may take minutes


@click.command(cls=Command)
@env_option("Environment whose cascade is estimated.")
@click.pass_obj
def estimate(metadata: Any, env: str | None) -> None:
    """Measure a few steps of each model, and print what each stage of the cascade takes on this machine.

    A stage without a network has a time only after it has run. `kedro run` tells by these numbers how much is left.
    """
    from cdm_kedro.data.image_folder import scan
    from cdm_kedro.data.inspection import small, thin
    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import read_globals, read_parameters
    from cdm_kedro.params.model import TrainedModelParams
    from cdm_kedro.params.sampling import SampleParams
    from cdm_kedro.provenance.plan import plan
    from cdm_kedro.tracking.durations import Durations, readable

    root, durations = metadata.project_path, Durations(metadata.project_path, env)
    jobs, stages = plan(root, env, "cascade")
    given, said, seconds = read_parameters(root / "conf", env), dict[str, str](), dict[str, float]({"sample": 0.0})
    folder = scan(root / read_globals(root / "conf", env)["images"], given.get("preprocess.val_files"))
    sample = given.read("sample", SampleParams)
    for name in read_cascade(root / "conf", env).names:
        params = given.read(name, TrainedModelParams)
        scores, images = params.training.selection, params.training.steps * params.training.batch_size
        image, evaluation, devices, about = _measure(name, params, len(folder.classes))
        seconds[name] = image * images
        if scores is not None:
            evaluations = scores.num_samples * (scores.steps or params.diffusion.timesteps)
            seconds[name] += -(-params.training.steps // scores.every) * evaluations * evaluation
        steps = sample.stages[name].steps
        evaluations = sample.num_samples * (steps if isinstance(steps, int) else params.diffusion.timesteps)
        seconds["sample"] += evaluations * evaluation
        durations.note(name, seconds[name], params)
        epochs = images / len(folder.splits["train"])
        risk = "; warning: it may learn them by heart" if epochs > 2000 else ""  # the paper: 1119
        said[name] = f"{seconds[name] * devices / 3600:.2f} device hours, {about}, sees images {epochs:.0f} times{risk}"
    durations.note("sample", seconds["sample"], sample)
    todo = {job.stage: seconds.get(job.stage) or durations.expected(job.stage, None) for job in jobs}
    for stage in stages:
        time = readable(todo[stage] or 0.0) if todo.get(stage) else "?" if stage in todo else "done"
        click.echo(f"{stage:12}{time:>10}  {said.get(stage, '') if stage in todo else ''}".rstrip())
    click.echo(f"{'together':12}{readable(sum(time or 0.0 for time in todo.values())):>10}")
    click.echo("\n".join((*thin(folder), *small(folder))))


def _measure(name: str, params: Any, num_classes: int) -> tuple[float, float, int, str]:
    """Train on random images: seconds of an image in training, of an evaluation in sampling; devices; a description."""
    import numpy as np
    import torch

    from cdm_kedro.data.beton_writer import write_beton
    from cdm_kedro.model.sizes import model_size
    from cdm_kedro.processes.launch import processes_wanted, visible_gpus
    from cdm_kedro.training.job import TrainingJob
    from cdm_kedro.training.launch import launch

    training, side, size = params.training, params.resolution, model_size(params, num_classes)
    devices, most = processes_wanted(training.devices), max(1, int(_CPU_STEP / size.forward_flops / 3))
    each = training.microbatch or max(1, training.batch_size // devices)
    batch = devices * (each if torch.cuda.is_available() else min(each, most))
    few = {"steps": _STEPS, "batch_size": batch, "microbatch": None, "log_every": 1, "selection": None}
    with tempfile.TemporaryDirectory() as work:
        pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
        write_beton(Path(work, "random.beton"), np.arange(batch) % num_classes, side, pixels)
        shorter = params.model_copy(update={"training": training.model_copy(update=few)})
        place: Any = {"beton": f"{work}/random.beton", "workdir": work, "data": {}, "num_classes": num_classes}
        rows = launch(TrainingJob(name=name, params=shorter, **place), lambda event: None).curve[_WARM:]
    image, whole = 1 / median(row["images_per_second"] for row in rows), (side / (training.crop or side)) ** 2
    disk = 36 * size.parameters / 2**30  # weights and two checkpoints
    memory = f"{max(row['memory_gib'] for row in rows):.1f} GiB of memory, {disk:.2f} of disk"
    return image, image / 3 * whole, max(1, visible_gpus()), f"{size.parameters / 1e6:.1f} M parameters, {memory}"


@click.command("model-sizes", cls=Command)
@env_option("Environment whose models are counted.")
@click.option("--num-classes", default=1000, show_default=True, type=click.IntRange(1), help="Classes of the data.")
@click.option("--tflops", default=400.0, show_default=True, type=click.FloatRange(1e-9), help="Sustained Tera-FLOP/s.")
@click.pass_obj
def model_sizes(metadata: Any, env: str | None, num_classes: int, tflops: float) -> None:
    """Print parameters, FLOPs an image and training cost of every model."""
    from cdm_kedro.model.sizes import model_size
    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.model import parse_model

    conf = metadata.project_path / "conf"
    values, _ = read_parameters(conf, env)
    click.echo(
        f"{'model':10}{'parameters':>15}{'GFLOPs/image':>15}{'training EFLOPs':>18}{f'days at {tflops:g} TFLOP/s':>24}"
    )
    for name in read_cascade(conf, env).names:
        size = model_size(parse_model(values[name]), num_classes)
        days = size.training_flops / (tflops * 1e12) / 86400
        click.echo(
            f"{name:10}{size.parameters:>15,}{size.forward_flops / 1e9:>15,.1f}"
            f"{size.training_flops / 1e18:>18,.1f}{days:>24,.2f}"
        )
