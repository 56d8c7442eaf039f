"""`kedro replay-runs`: delivers to MLflow what its server missed."""

from typing import Any

import click

from cdm_kedro.cli.command import Command


@click.command("replay-runs", cls=Command)
@click.pass_obj
def replay_runs(metadata: Any) -> None:
    """Deliver to MLflow what its server missed while it was away."""
    from cdm_kedro.tracking.delivery import default_tracking_uri
    from cdm_kedro.tracking.journal import UNLOGGED, replay

    uri = default_tracking_uri(metadata.project_path)
    try:
        delivered, refused = replay(metadata.project_path)
    except Exception as error:  # whatever a server does
        said = str(error).splitlines()[0][:200]
        raise click.ClickException(
            f"MLflow at {uri} does not take them ({said}); what is left stays in {UNLOGGED}"
        ) from error
    click.echo(f"delivered {delivered} operations")
    if refused:
        raise click.ClickException(
            "\n  ".join([f"MLflow at {uri} refused these, which are in {UNLOGGED}/*.refused now:", *refused])
        )
