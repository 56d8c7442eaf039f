"""`kedro dvc-yaml`: writes dvc.yaml, or checks it."""

from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option, open_catalog


@click.command("dvc-yaml", cls=Command)
@env_option("Environment; its file is dvc/<env>/dvc.yaml, base's is dvc.yaml.")
@click.option(
    "--pipeline", "-p", default=None, help="An extra pipeline; its file is dvc/<env or base>/<pipeline>/dvc.yaml."
)
@click.option("--check", is_flag=True, help="Change nothing; fail if the cascade's file is out of date.")
@click.pass_obj
def dvc_yaml(metadata: Any, env: str | None, pipeline: str | None, check: bool) -> None:
    """Write dvc.yaml from the pipeline, the catalog and the parameters, as `kedro run` does when it is out of date."""
    from cdm_kedro.pipeline_registry import extra_of_stages
    from cdm_kedro.provenance.dvcfile import dvc_file, refresh, render

    root = metadata.project_path
    with open_catalog(root, env) as catalog:
        if check:
            path = dvc_file(root, env)
            found = path.read_text(encoding="utf-8") if path.exists() else None
            if found != render(catalog, root, env):
                option = f" --env={env}" if env else ""
                raise click.ClickException(f"{path} is out of date; run `kedro dvc-yaml{option}`")
            return
        extras = sorted(set(extra_of_stages().values()))
        if pipeline is not None and pipeline not in extras:
            raise click.ClickException(f"--pipeline {pipeline} is no extra pipeline; those are {extras}")
        for path in refresh(catalog, root, env, [pipeline] if pipeline else []):
            click.echo(f"wrote {path}")
