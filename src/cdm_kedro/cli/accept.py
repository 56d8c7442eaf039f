"""`kedro accept`: says that an edit does not change a result."""

from __future__ import annotations

from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option, open_catalog


@click.command(cls=Command)
@click.argument("stages", nargs=-1, required=True)
@click.option("--because", required=True, help="Why the result stays the same; MLflow and the lineage keep it.")
@env_option("Environment of the stages.")
@click.pass_obj
def accept(metadata: Any, stages: tuple[str, ...], because: str, env: str | None) -> None:
    """Record the outputs of STAGES as what the present code and parameters make, without running them.

    It is refused where data changed, or where outputs are not the recorded ones.
    """
    from cdm_kedro.provenance.accept import accept_stages

    with open_catalog(metadata.project_path, env):
        for stage, changes in accept_stages(metadata.project_path, env, stages, because):
            said = f"accepted, with {'; '.join(changes)}" if changes else "fresh, nothing to accept"
            click.echo(f"{stage}: {said}")
