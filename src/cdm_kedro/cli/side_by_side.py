"""`kedro side-by-side`: samples of some classes beside someone else's pictures of them (Figure 6)."""

from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option, open_catalog
from cdm_kedro.cli.sampling import class_index


@click.command("side-by-side", cls=Command)
@click.argument("names", metavar="CLASS...", nargs=-1, required=True)
@click.option(
    "--beside",
    multiple=True,
    metavar="WHO=FOLDER",
    help="Others' pictures; the folder has one for each class, named so.",
)
@click.option("--columns", default=4, show_default=True, type=click.IntRange(min=1), help="Pictures in a row.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("side_by_side.png"))
@env_option("Environment whose samples are shown.")
@click.pass_obj
def side_by_side(
    metadata: Any, names: tuple[str, ...], beside: tuple[str, ...], columns: int, out: Path, env: str | None
) -> None:
    """Draw the largest samples of each CLASS (a name or an index), and below them others' pictures of that class."""
    from cdm_kedro.params.cascade import read_cascade

    shape = read_cascade(metadata.project_path / "conf", env)
    with open_catalog(metadata.project_path, env) as catalog:
        classes = catalog.load("classes" if shape.images else "class_names")
        samples = catalog.load(f"samples_{shape.resolutions[-1]}")
    from cdm_kedro.evaluation.pictures import draw_side_by_side

    labels = {name: class_index(name, classes) for name in names}
    others = {who: Path(folder) for who, _, folder in (pair.partition("=") for pair in beside)}
    draw_side_by_side(samples, {classes[label]: label for label in labels.values()}, others, columns, out)
    click.echo(f"wrote {out}")
