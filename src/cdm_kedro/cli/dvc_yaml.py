"""`kedro dvc-yaml`: writes dvc.yaml, or checks it."""

from __future__ import annotations

import os
from typing import Any

import click


@click.command("dvc-yaml")
@click.option("--env", "-e", default=None, help="Environment; its file is dvc/<env>/dvc.yaml, base's is dvc.yaml.")
@click.option(
    "--pipeline", "-p", default=None, help="An extra pipeline; its file is dvc/<env or base>/<pipeline>/dvc.yaml."
)
@click.option("--check", is_flag=True, help="Change nothing; fail if the cascade's file is out of date.")
@click.pass_obj
def dvc_yaml(metadata: Any, env: str | None, pipeline: str | None, check: bool) -> None:
    """Write dvc.yaml from the pipeline, the catalog and the parameters, as `kedro run` does when it is out of date."""
    if env:
        os.environ["KEDRO_ENV"] = env
    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroSession

    from cdm_kedro.pipeline_registry import stage_homes
    from cdm_kedro.provenance.dvcfile import dvc_file, refresh, rendered

    root = metadata.project_path
    with KedroSession.create(root, env=env) as session:
        catalog = session.load_context().catalog  # type: ignore[attr-defined]
        if check:
            path = dvc_file(root, env)
            if (
                not path.exists()
                or path.read_text(encoding="utf-8") != rendered(pipelines, {}, catalog, root, env)[path]
            ):
                raise click.ClickException(
                    f"{path} is out of date; run `kedro dvc-yaml{f' --env={env}' if env else ''}`"
                )
            return
        homes = stage_homes()
        if pipeline is not None and pipeline not in homes.values():
            raise click.ClickException(
                f"--pipeline {pipeline} is no extra pipeline; those are {sorted(set(homes.values()))}"
            )
        for path in refresh(pipelines, homes, catalog, root, env, [pipeline] if pipeline else []):
            click.echo(f"wrote {path}")
