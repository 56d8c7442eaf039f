"""`kedro code-digests`: the command of DVC's stage `code`."""

import os
from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command


@click.command("code-digests", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("modules", nargs=-1)
@click.pass_obj
def code_digests(metadata: Any, folder: Path, modules: tuple[str, ...]) -> None:
    """Write to FOLDER what the nodes of MODULES reach by imports; `dvc repro` runs this when code was edited."""
    from cdm_kedro.provenance.digests import NODES, write_digests

    write_digests(folder, [NODES + module for module in modules], metadata.project_path / "src")
    stage = os.environ.get("DVC_STAGE")
    if stage is not None:  # DVC's cache may be lost, for this stage's outputs live there too
        from cdm_kedro.provenance.staleness import Staleness

        Staleness(metadata.project_path).all_back_to_cache(stage.rpartition(":")[0] or "dvc.yaml")
