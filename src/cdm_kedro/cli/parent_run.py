"""`kedro parent-run`: one MLflow run above the stages that a scheduler starts."""

from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option


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
