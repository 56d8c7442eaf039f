"""Commands that run the trained models: classes are sampled, pictures are enlarged."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, open_catalog, refuse_output
from cdm_kedro.errors import CdmError
from cdm_kedro.sampling.inputs import class_index, sort_inputs
from cdm_kedro.sampling.tiles import tile_rows

_TILE, _SHEET_ROWS = 256, 20  # pixels of a picture on a sheet; rows of a sheet
_BAR = "{l_bar}{bar}|{postfix} [{elapsed}<{remaining}]"
_OPTIONS = (
    click.Option(["--env", "-e"], envvar="KEDRO_ENV", help="Environment whose models and parameters are used."),
    click.Option(["-n", "--number"], default=4, show_default=True, type=click.IntRange(min=1), help="Pictures each."),
    click.Option(["--seed"], default=0, show_default=True, type=click.IntRange(0, 2**63 - 1), help="Decides them."),
    click.Option(["--s"], type=click.IntRange(min=0), help="Conditioning augmentation of models with Gaussian noise."),
    click.Option(["--steps"], type=click.IntRange(min=1), help="Reverse steps of every model."),
    click.Option(["--sampler"], type=click.Choice(["ancestral", "ddim", "dpmpp_2m"])),
)


def find_trained(root: Path, env: str | None) -> tuple[Any, list[str], Callable[..., Any]]:
    """Find an environment's CascadeShape, its classes, and a function that loads its Cascade and keeps the last one.

    The function takes the ``target`` model and, for once, s, steps and sampler. Raises CdmError if a file is missing.
    """
    from cdm_kedro.model.load import read_description
    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.sampling import SampleParams

    shape = read_cascade(root / "conf", env)
    with open_catalog(root, env) as catalog:
        names = [*(f"{model}_model" for model in shape.names), *shape.sample_inputs]
        classes = catalog.load("classes" if shape.images else "class_names")
        models, real, best = sort_inputs({name: catalog.load(name) for name in names})
    if len(classes) != (known := read_description(next(iter(models.values())))[1]):
        raise CdmError(f"classes.json has {len(classes)} classes, the models {known}; bring it back: kedro run")
    params = read_parameters(root / "conf", env).read("sample", SampleParams)

    @lru_cache(maxsize=1)
    def load(target: str | None = None, **settings: Any) -> Any:
        from cdm_kedro.sampling.best import asked, resolve_best
        from cdm_kedro.sampling.cascade import Cascade

        changed = asked(resolve_best(params, best, models), models, **settings)
        return Cascade.from_files(models, changed, real=real, target=target)

    return shape, classes, load


def _finished(
    cascade: Any, title: str, labels: list[int], watch: Callable[[Any], object] | None = None, **how: Any
) -> dict[int, Any]:
    """Sample or enlarge with a progress bar; returns resolution to (B, H, W, 3) uint8. ``how``: of Cascade.stream."""
    import numpy as np
    from tqdm import tqdm

    given = 0 if how.get("images") is None else how["images"].shape[-1]
    work = {m.name: cascade.work()[m.name] for m in cascade.models if m.params.resolution > given}
    parts: dict[int, list[Any]] = {}
    with tqdm(total=len(labels) * sum(work.values()), desc=title, bar_format=_BAR) as bar:
        for estimate in cascade.stream(labels, **how):
            bar.set_postfix_str(f"{estimate.model}, step {estimate.step} of {estimate.steps}", refresh=False)
            if watch is not None:
                watch(estimate)
            if estimate.finished:
                images = estimate.x_start.permute(0, 2, 3, 1).cpu().numpy()
                parts.setdefault(images.shape[1], []).append(images)
            else:
                bar.update(work[estimate.model] * len(estimate.state) / estimate.steps)
    return {side: np.concatenate(images) for side, images in parts.items()}


@click.command("sample-class", cls=Command, params=[*_OPTIONS])
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("samples"), show_default=True)
@click.option("--animate", type=click.Path(path_type=Path), help="GIF or PNG that shows the first of each class grow.")
@click.pass_obj
def sample_class(
    metadata: Any, names: tuple[str, ...], env: str | None, number: int, seed: int, out: Path, animate: Path | None,
    **settings: Any,
) -> None:  # fmt: skip
    """Sample images of each class NAME (a name or an index) to PNG files, one for each size of the cascade.

    Beside them grid_<seed>.png has a row for each class, and sizes_<seed>.png every size of each picture.
    """
    if animate is not None and animate.suffix.lower() not in (".gif", ".png"):
        raise click.ClickException(f"{animate}: the name of an animation must end in .gif or .png")
    _, classes, load = find_trained(metadata.project_path, env)
    labels = list(dict.fromkeys(class_index(name, classes) for name in names))
    grid, sizes = out / f"grid_{seed}.png", out / f"sizes_{seed}.png"
    refuse_output(grid, sizes, *[animate] if animate else [])
    import torch
    from PIL import Image

    from cdm_kedro.sampling.animation import Animation

    pictures = [(label, i) for label in labels for i in range(number)]
    each, numbers = [label for label, _ in pictures], torch.tensor([i for _, i in pictures])
    animation = Animation({k * number: classes[label] for k, label in enumerate(labels)} if animate else {})
    images = _finished(load(**settings), ", ".join(names), each, animation.add, indices=numbers, seed=seed)
    for side, batch in images.items():
        for (label, i), image in zip(pictures, batch, strict=True):
            Image.fromarray(image).save(out / f"{classes[label]}_{seed}_{i}_{side}px.png")
    largest = images[max(images)]
    by_class = [(classes[label], largest[k * number : (k + 1) * number], ()) for k, label in enumerate(labels)]
    tile_rows(by_class, _TILE).save(grid)
    texts, all_sizes = [f"{side} px" for side in images], zip(*images.values(), strict=True)
    tile_rows([(classes[label], every, texts) for label, every in zip(each, all_sizes, strict=True)], _TILE).save(sizes)
    click.echo(f"wrote {sum(map(len, images.values()))} images to {out}, with {grid.name} and {sizes.name}")
    if animate is not None:
        animation.save(animate)
        click.echo(f"wrote {animate}")


@click.command("upsample", cls=Command, params=[*_OPTIONS])
@click.argument("source", metavar="FILE_OR_FOLDER", type=click.Path(exists=True, path_type=Path))
@click.option("--class", "name", help="What the pictures show: a name or an index.")
@click.option("--from", "low", type=int, help="Size to begin with; default the largest that the picture has.")
@click.option("--to", "high", type=int, help="Size to end with; default the cascade's largest.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("upsampled"), show_default=True)
@click.pass_obj
def upsample(
    metadata: Any, source: Path, name: str | None, low: int | None, high: int | None, env: str | None, number: int,
    seed: int, out: Path, s: int | None, **settings: Any,
) -> None:  # fmt: skip
    """Enlarge a picture, or those in a folder, by the super-resolution models, -n times each.

    The centre square is reduced to the size that a model takes as preprocessing does, or enlarged where it is smaller.
    sheet.png has the input, its bicubic enlargement and ours side by side.
    """
    from cdm_kedro.evaluation.sources import FolderSource

    shape, classes, load = find_trained(metadata.project_path, env)
    sizes = {model.resolution: model for model in shape.models if model.low is not None}
    high = max(sizes, default=0) if high is None else high
    if high not in sizes:
        raise click.ClickException(f"--to is {high}; this cascade enlarges to {sorted(sizes)}")
    lows = [model.low_resolution for model in shape.chain(sizes[high].name) if model.low_resolution is not None]
    if low not in (None, *lows):
        raise click.ClickException(f"--from is {low}; what {high} pixels are made from is {lows}")
    paths = sorted(FolderSource(source).files) if source.is_dir() else [source]
    names = ["_".join(path.relative_to(source).parts) or path.name for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise CdmError(f"{source}: two pictures would be written as {twice[0]}; rename one, or enlarge them one by one")
    inputs = {file: read_input(path, [low] if low else lows) for file, path in zip(names, paths, strict=True)}
    refuse_output(out / "sheet.png")
    cascade = load(sizes[high].name, **settings)
    smallest = min(len(pixels) for pixels, _ in inputs.values())
    if name is None and any(m.params.unet.class_cond for m in cascade.models if m.params.resolution > smallest):
        raise CdmError(f"these models see a class: give --class; there are {len(classes)}: {', '.join(classes[:20])}")
    label = 0 if name is None else class_index(name, classes)
    import cv2
    import torch
    from PIL import Image

    from cdm_kedro.sampling.job import consistency, consistency_sums

    rows = []
    for file, (pixels, said) in inputs.items():
        given = torch.from_numpy(pixels).permute(2, 0, 1).expand(number, -1, -1, -1)
        images = _finished(cascade, file, [label] * number, seed=seed, images=given, s=s)[high]
        for i, image in enumerate(images):
            Image.fromarray(image).save(out / f"{file}_{seed}_{i}_{high}px.png")
        bicubic = cv2.resize(pixels, (high, high), interpolation=cv2.INTER_CUBIC)
        texts = [f"input, {len(pixels)} px", "bicubic", *[f"ours, {high} px"] * number]
        rows.append((file, [pixels, bicubic, *images], texts))
        measured = consistency(consistency_sums(torch.from_numpy(images).permute(0, 3, 1, 2), given))
        psnr = f"{measured['psnr_to_input_db']:.1f} dB" if "psnr_to_input_db" in measured else "exact"
        shift = ", ".join(f"{c} {measured[f'colour_shift_{c}']:+.1f}" for c in ("red", "green", "blue"))
        against = f"averaged down to {len(pixels)} pixels against the input"
        click.echo(f"{file}: {said}\n  {against}: PSNR {psnr}, colour shift {shift} levels")
    tile_rows(rows[:_SHEET_ROWS], min(high, _TILE)).save(out / "sheet.png")
    click.echo(f"wrote {number * len(rows)} pictures to {out}, with sheet.png of the first {len(rows[:_SHEET_ROWS])}")


def read_input(path: Path, sides: list[int], name: str | None = None) -> tuple[Any, str]:
    """A picture's centre square at the largest of some sides that it has, (h, h, 3) uint8, and what was done to it."""
    from cdm_kedro.data.crop import BadImage, crops, decode

    try:
        image = decode(path, apply_exif_rotation=True)
    except BadImage as error:
        raise CdmError(f"{name or path}: {error}") from None
    height, width = image.pixels.shape[:2]
    short = min(height, width)
    side = max((side for side in sides if side <= short), default=min(sides))
    if height == width == side:
        return image.pixels, f"taken as it is, {side} x {side}"
    how = "reduced" if side < short else "enlarged" if side > short else "taken"
    return crops(image, "area", [side])[side], f"{width} x {height}; its centre square was {how} to {side} x {side}"
