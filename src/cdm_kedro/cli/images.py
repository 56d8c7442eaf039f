"""Commands about pictures that are there: a folder is inspected, samples stand beside others' (Figure 6)."""

from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option, open_catalog, refuse_output

_TILE, _COLUMNS = 64, 8  # pixels of a picture on the sheet, pictures of a class


@click.command("inspect-images", cls=Command)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", type=click.FloatRange(0, 0.5, min_open=True), help="Hold out this share for validation.")
@click.option("--seed", default=0, show_default=True, help="Decides with the pixels which images --split holds out.")
@env_option("Environment whose folder gets the list of --split, as conf/<env>/val_files.txt.")
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="PNG; default <folder's name>.png here.")
@click.pass_obj
def inspect_images(
    metadata: Any, folder: Path, split: float | None, seed: int, env: str | None, sheet: Path | None
) -> None:
    """Look at every image of FOLDER: classes, sizes, formats, broken files, pictures that repeat; and draw a sheet.

    FOLDER holds train/<class>/ and val/<class>/, or without val either train/<class>/ or <class>/. Then --split writes
    a list of held-out images for preprocessing to read; no file is moved or linked.
    """
    import numpy as np

    from cdm_kedro.data.crop import crops, decode
    from cdm_kedro.data.image_folder import scan, scan_undivided
    from cdm_kedro.data.inspection import hold_out, look, report
    from cdm_kedro.files.atomic import write_text
    from cdm_kedro.params.files import folders_of
    from cdm_kedro.sampling.grids import draw_grid

    sheet = sheet or Path(f"{folder.resolve().name}.png")
    refuse_output(sheet)
    listed = folders_of(metadata.project_path / "conf", env or "base")[-1] / "val_files.txt"
    found = scan(folder) if (folder / "val").exists() and split is None else scan_undivided(folder)
    seen = look(found)
    if all(one.bad for one in seen.values()):
        path, one = next(iter(seen.items()))
        raise click.ClickException(f"{folder}: every image is broken, such as {path} ({one.bad})")
    samples = next(iter(found.splits.values()))
    if split is not None:
        write_text(listed, "".join(f"{held}\n" for held in hold_out(samples, seen, split, seed)))
        found = scan(folder, listed)
    click.echo("\n".join(report(found, seen)))
    chosen: dict[int, list[str]] = {}
    for path, label in samples:
        if not seen[path].bad and len(chosen.setdefault(label, [])) < _COLUMNS:
            chosen[label].append(path)
    shown = [(path, label) for label in sorted(chosen)[:: 1 + len(chosen) // 20] for path in chosen[label]]
    tiles = [crops(decode(folder / path, apply_exif_rotation=True), "area", [_TILE])[_TILE] for path, _ in shown]
    draw_grid(np.stack(tiles), np.array([label for _, label in shown]), found.classes, _COLUMNS, sheet)
    click.echo(f"wrote {sheet}")
    if split is not None:
        inside, images = listed.relative_to(metadata.project_path), folder.resolve()
        click.echo(f"wrote {inside}. Now set beside it: images: {images} (in globals.yml),")
        click.echo(f"and in the parameters: preprocess: {{val_files: {inside}}}")


@click.command("side-by-side", cls=Command)
@click.argument("names", metavar="CLASS...", nargs=-1, required=True)
@click.option(
    "--beside",
    multiple=True,
    metavar="WHO=FOLDER",
    help="Others' pictures; the folder has one for each class, named so.",
)
@click.option("--columns", default=4, show_default=True, type=click.IntRange(min=1), help="Pictures in a row.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="side_by_side.png", help="PNG file.")
@env_option("Environment whose samples are shown.")
@click.pass_obj
def side_by_side(
    metadata: Any, names: tuple[str, ...], beside: tuple[str, ...], columns: int, out: Path, env: str | None
) -> None:
    """Draw the largest samples of each CLASS (a name or an index), and below them others' pictures of that class."""
    from cdm_kedro.params.cascade import read_cascade

    others = {who: Path(folder) for who, _, folder in (pair.partition("=") for pair in beside) if folder}
    if len(others) < len(beside):
        raise click.BadParameter("write WHO=FOLDER, with a name of its own for each", param_hint="--beside")
    refuse_output(out)
    shape = read_cascade(metadata.project_path / "conf", env)
    with open_catalog(metadata.project_path, env) as catalog:
        classes = catalog.load("classes" if shape.images else "class_names")
        samples = catalog.load(f"samples_{shape.resolutions[-1]}")
    from cdm_kedro.evaluation.pictures import draw_side_by_side
    from cdm_kedro.sampling.inputs import class_index

    labels = {name: class_index(name, classes) for name in names}
    draw_side_by_side(samples, {classes[label]: label for label in labels.values()}, others, columns, out)
    click.echo(f"wrote {out}")
