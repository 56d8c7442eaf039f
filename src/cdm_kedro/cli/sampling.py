"""Commands that run the trained models."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdm_kedro.cli.command import Command, open_catalog, refuse_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdm_kedro.params.cascade import CascadeShape
    from cdm_kedro.sampling.cascade import Cascade

_TILE = 256  # pixels of a picture on a sheet
_BAR = "{l_bar}{bar}|{postfix} [{elapsed}<{remaining}]"
_folder = click.Path(path_type=Path, file_okay=False)
_OPTIONS = (
    click.Option(["--env", "-e"], envvar="KEDRO_ENV", help="Environment whose models and parameters are used."),
    click.Option(
        ["-n", "--number"], default=4, show_default=True, type=click.IntRange(min=1), help="Pictures of each."
    ),
    click.Option(["--seed"], default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Decides them."),
    click.Option(["--s"], type=click.IntRange(min=0), help="Conditioning augmentation of models with Gaussian noise."),
    click.Option(["--steps"], type=click.IntRange(min=1), help="Reverse steps of every model."),
    click.Option(["--sampler"], type=click.Choice(["ancestral", "ddim", "dpmpp_2m"])),
)


def find_trained(root: Path, env: str | None) -> tuple["CascadeShape", list[str], Callable[..., "Cascade"]]:
    """Find an environment's trained models.

    Returns the cascade's shape, the classes, and a function that loads the models, with ``target`` those up to one and
    with settings for once: s, steps, sampler. Raises CdmError if a file is missing.
    """
    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.sampling import SampleParams
    from cdm_kedro.sampling.inputs import sort_inputs

    shape = read_cascade(root / "conf", env)
    with open_catalog(root, env) as catalog:
        names = [*(f"{model}_model" for model in shape.names), *shape.sample_inputs]
        classes = catalog.load("classes" if shape.images else "class_names")
        models, real, best = sort_inputs({name: catalog.load(name) for name in names})
    params = read_parameters(root / "conf", env).read("sample", SampleParams)

    def load(target: str | None = None, **settings: Any) -> "Cascade":
        from cdm_kedro.sampling.best import asked, resolve_best
        from cdm_kedro.sampling.cascade import Cascade

        changed = asked(resolve_best(params, best, models), models, **settings)
        return Cascade.from_files(models, changed, real=real, target=target)

    return shape, classes, load


def _finished(cascade: "Cascade", title: str, labels: list[int], **how: Any) -> dict[int, "NDArray[Any]"]:
    """Sample or enlarge with a progress bar; returns resolution to (B, H, W, 3) uint8. ``how``: of Cascade.stream."""
    import numpy as np
    from tqdm import tqdm

    given = 0 if how.get("images") is None else how["images"].shape[-1]
    work = {m.name: cascade.work()[m.name] for m in cascade.models if m.params.resolution > given}
    parts: dict[int, list[Any]] = {}
    with tqdm(total=len(labels) * sum(work.values()), desc=title, bar_format=_BAR) as bar:
        for estimate in cascade.stream(labels, **how):
            bar.set_postfix_str(f"{estimate.model}, step {estimate.step} of {estimate.steps}", refresh=False)
            if estimate.finished:
                images = estimate.x_start.permute(0, 2, 3, 1).cpu().numpy()
                parts.setdefault(images.shape[1], []).append(images)
            else:
                bar.update(work[estimate.model] * len(estimate.state) / estimate.steps)
    return {side: np.concatenate(images) for side, images in parts.items()}


@click.command("sample-class", cls=Command, params=[*_OPTIONS])
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--out", type=_folder, default=Path("samples"), show_default=True, help="Folder.")
@click.pass_obj
def sample_class(
    metadata: Any, names: tuple[str, ...], env: str | None, number: int, seed: int, out: Path, **settings: Any
) -> None:
    """Sample images of each class NAME (a name or an index) to PNG files, one for each size of the cascade.

    Beside them grid_<seed>.png has a row for each class, and sizes_<seed>.png every size of each picture.
    """
    from cdm_kedro.sampling.inputs import class_index

    _, classes, load = find_trained(metadata.project_path, env)
    labels = list(dict.fromkeys(class_index(name, classes) for name in names))
    grid, sizes = out / f"grid_{seed}.png", out / f"sizes_{seed}.png"
    refuse_output(grid, sizes)
    import torch
    from PIL import Image

    from cdm_kedro.sampling.tiles import tile_rows

    pictures = [(label, i) for label in labels for i in range(number)]
    each, numbers = [label for label, _ in pictures], torch.tensor([i for _, i in pictures])
    title = ", ".join(classes[label] for label in labels)
    images = _finished(load(**settings), title, each, indices=numbers, seed=seed)
    for side, batch in images.items():
        for (label, i), image in zip(pictures, batch, strict=True):
            Image.fromarray(image).save(out / f"{classes[label]}_{seed}_{i}_{side}px.png")
    largest = images[max(images)]
    by_class = [(classes[label], largest[k * number : (k + 1) * number], ()) for k, label in enumerate(labels)]
    tile_rows(by_class, _TILE).save(grid)
    texts, all_sizes = [f"{side} px" for side in images], zip(*images.values(), strict=True)
    tile_rows([(classes[label], every, texts) for label, every in zip(each, all_sizes, strict=True)], _TILE).save(sizes)
    click.echo(f"wrote {sum(map(len, images.values()))} images to {out}, with {grid.name} and {sizes.name}")
