"""`kedro lineage`: where a file came from."""

from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--params/--no-params", default=True, help="List the parameters of every stage on the way.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def lineage(metadata: Any, file: Path, params: bool, as_json: bool) -> None:
    """Show what made FILE, back to the images.

    FILE is anything under data/. For it and everything it was made from: the stage, the MLflow run, the git commit, the
    parameters and the hash of the content.
    """
    from cdm_kedro.provenance.lineage import Lineage, describe
    from cdm_kedro.provenance.staleness import Staleness

    file = file.absolute()
    origins = Lineage(metadata.project_path).trace(file)
    now = Staleness(metadata.project_path).file_hashes([Path(origin.path) for origin in origins])
    changed = {origin.path for origin in origins if now.get(origin.path) != origin.md5}
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([{**asdict(o), "on_disk": o.path not in changed} for o in origins], indent=2))
        return
    for line in describe(origins, changed, params):
        click.echo(line)
