"""`kedro sample-class`: pictures of one class from trained models, outside the DAG."""

from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option, open_catalog


@click.command("sample-class", cls=Command)
@click.argument("name")
@env_option("Environment whose models and sampling parameters are used.")
@click.option("-n", "--number", default=4, show_default=True, type=click.IntRange(min=1), help="Images.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Decides the images.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=None, help="Folder; default samples/.")
@click.pass_obj
def sample_class(metadata: Any, name: str, env: str | None, number: int, seed: int, out: Path | None) -> None:
    """Sample images of class NAME (a name or an index) to PNG files, one for each size of the cascade."""
    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.sampling import SampleParams
    from cdm_kedro.sampling.inputs import sort_inputs

    conf = metadata.project_path / "conf"
    shape = read_cascade(conf, env)
    with open_catalog(metadata.project_path, env) as catalog:
        names = [*(f"{model}_model" for model in shape.names), *shape.sample_inputs]
        classes = catalog.load("classes" if shape.images else "class_names")
        models, real, best = sort_inputs({name: catalog.load(name) for name in names})
    label = class_index(name, classes)
    from PIL import Image
    from tqdm import tqdm

    from cdm_kedro.sampling.best import resolve_best
    from cdm_kedro.sampling.cascade import Cascade

    folder = out or Path("samples")
    folder.mkdir(parents=True, exist_ok=True)
    params = read_parameters(conf, env).read("sample", SampleParams)
    cascade = Cascade.from_files(models, resolve_best(params, best, models), real=real)
    work = cascade.work()
    with tqdm(total=number * sum(work.values()), desc=classes[label], bar_format="{l_bar}{bar}| {elapsed}") as bar:
        evaluations = {stage.name: stage.evaluations for stage in cascade.models}
        images = cascade.sample(
            [label] * number, seed=seed, progress=lambda stage, n: bar.update(n * work[stage] / evaluations[stage])
        )
    for resolution, batch in images.items():
        for i, image in enumerate(batch.permute(0, 2, 3, 1).cpu().numpy()):
            Image.fromarray(image).save(folder / f"{classes[label]}_{seed}_{i}_{resolution}px.png")
    click.echo(f"wrote {number * len(images)} images to {folder}")


def class_index(name: str, classes: list[str]) -> int:
    """Index of a class given by name or index. Raises click.ClickException if there is no such class."""
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise click.ClickException(f"no class {name!r}; there are {len(classes)}: {shown}")
