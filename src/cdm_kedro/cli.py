"""Project commands: `kedro run` with --force, `kedro dvc-yaml`, `kedro replay-runs`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.utils import find_kedro_project

from cdm_kedro.commands import evaluation
from cdm_kedro.commands.lineage import lineage
from cdm_kedro.commands.sampling import sample_class


@click.group(name="cdm_kedro")
def cli() -> None:
    """Commands of cdm-kedro."""


def _run(force: bool, **options: Any) -> Any:
    if force:
        os.environ["CDM_FORCE"] = "1"
    if options.get("env"):
        os.environ["KEDRO_ENV"] = options["env"]  # the registry reads the cascade's shape from this environment
    assert kedro_run.callback is not None
    warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")  # both spellings are fine here
    try:
        return kedro_run.callback(**options)
    except Exception as error:
        if type(error).__module__.startswith("cdm_kedro."):  # ours say what to do; a traceback would bury it
            raise click.ClickException(str(error)) from error
        if type(error).__name__ == "ParameterValidationError":
            from cdm_kedro.params.explain import explain

            root = find_kedro_project(Path.cwd()) or Path()
            said = explain(str(error), root / "conf", options.get("env"))
            if said is not None:
                raise click.ClickException(f"wrong parameters\n{said}") from None
        raise
    except BaseException as error:
        if hasattr(error, "code") and type(error).__module__.startswith("cdm_kedro."):
            click.echo(str(error), err=True)
            raise SystemExit(error.code) from None
        raise


cli.add_command(
    click.Command(
        "run",
        callback=_run,
        params=[
            *kedro_run.params,
            click.Option(["--force"], is_flag=True, help="Run fresh stages too, and record them anew."),
        ],
        help="Run the stale stages of a pipeline and record them in dvc.lock; fresh ones are skipped.",
    )
)


cli.add_command(lineage)
cli.add_command(sample_class)


@cli.command("dvc-yaml")
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


@cli.command("model-sizes")
@click.option("--env", "-e", default=None, help="Environment whose models are counted.")
@click.option("--num-classes", default=1000, show_default=True, help="Classes of the data.")
@click.option("--tflops", default=400.0, show_default=True, help="Sustained Tera-FLOP/s for the time estimate.")
@click.pass_obj
def model_sizes(metadata: Any, env: str | None, num_classes: int, tflops: float) -> None:
    """Print parameters, FLOPs an image and training cost of every model."""
    from cdm_kedro.cascade_spec import read_cascade, read_parameters
    from cdm_kedro.model.sizes import model_size
    from cdm_kedro.params.stage import parse_model

    conf = metadata.project_path / "conf"
    values, _ = read_parameters(conf, env)
    click.echo(
        f"{'stage':10}{'parameters':>15}{'GFLOPs/image':>15}{'training EFLOPs':>18}{f'days at {tflops:g} TFLOP/s':>24}"
    )
    for stage in read_cascade(conf, env).stages:
        size = model_size(parse_model(values[stage.name]), num_classes)
        days = size.training_flops / (tflops * 1e12) / 86400
        click.echo(
            f"{stage.name:10}{size.parameters:>15,}{size.forward_flops / 1e9:>15,.1f}"
            f"{size.training_flops / 1e18:>18,.1f}{days:>24,.2f}"
        )


@cli.command("replay-runs")
@click.pass_obj
def replay_runs(metadata: Any) -> None:
    """Deliver to MLflow what could not be logged while its server was away."""
    from cdm_kedro.provenance.tracking import UNLOGGED, default_tracking_uri, replay

    try:
        click.echo(f"delivered {replay(metadata.project_path)} operations")
    except Exception as error:  # whatever a server does
        raise click.ClickException(
            f"MLflow at {default_tracking_uri(metadata.project_path)} does not take them "
            f"({str(error).splitlines()[0][:200]}); what is left stays in {UNLOGGED}"
        ) from error


cli.add_command(evaluation.evaluate_samples)
cli.add_command(evaluation.reference_statistics)
