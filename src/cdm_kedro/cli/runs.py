"""Commands about runs in MLflow: where a file came from, a run above others, and what a server missed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option


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
        click.echo(json.dumps([{**asdict(o), "on_disk": o.path not in changed} for o in origins], indent=2))
        return
    click.echo(describe(origins, changed, params), nl=False)


@click.command("parent-run", cls=Command)
@click.option("--pipelines", "--pipeline", "-p", "pipeline", default="cascade", show_default=True, help="What is run.")
@env_option("Environment.")
@click.option("--close", metavar="RUN", default=None, help="End it: FINISHED if all stages are fresh, else FAILED.")
@click.pass_obj
def parent_run(metadata: Any, pipeline: str, env: str | None, close: str | None) -> None:
    """Make an MLflow run and print its id; print nothing if every stage is fresh.

    Each `kedro run` with the id in MLFLOW_RUN_ID puts its stages' runs below that run.
    """
    from cdm_kedro.provenance.plan import close_run, open_run, plan

    jobs, _ = plan(metadata.project_path, env, pipeline)
    if close:
        close_run(metadata.project_path, close, "FAILED" if jobs else "FINISHED")
    elif jobs:
        click.echo(open_run(metadata.project_path, f"parent-run {pipeline}", env) or "")


@click.command("replay-runs", cls=Command)
@click.pass_obj
def replay_runs(metadata: Any) -> None:
    """Deliver to MLflow what its server missed while it was away."""
    from cdm_kedro.tracking.delivery import UNLOGGED, default_tracking_uri, replay

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
