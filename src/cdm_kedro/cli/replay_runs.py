"""`kedro replay-runs`: delivers to MLflow what its server missed."""

from __future__ import annotations

from typing import Any

import click

from cdm_kedro.cli.command import Command


@click.command("replay-runs", cls=Command)
@click.pass_obj
def replay_runs(metadata: Any) -> None:
    """Deliver to MLflow what its server missed while it was away."""
    from cdm_kedro.tracking.delivery import default_tracking_uri
    from cdm_kedro.tracking.journal import UNLOGGED, replay

    try:
        click.echo(f"delivered {replay(metadata.project_path)} operations")
    except Exception as error:  # whatever a server does
        raise click.ClickException(
            f"MLflow at {default_tracking_uri(metadata.project_path)} does not take them "
            f"({str(error).splitlines()[0][:200]}); what is left stays in {UNLOGGED}"
        ) from error
