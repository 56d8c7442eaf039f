"""`kedro run`: runs the stale stages; says wrong parameters in the words of the files."""

import os
import warnings
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from cdm_kedro.cli.command import Command


def _run(force: bool, wait: float | None, **options: Any) -> Any:
    os.environ["CDM_RESTARTS"] = "1"
    if wait is not None:
        os.environ["CDM_WAIT"] = str(wait)
    if force:
        os.environ["CDM_FORCE"] = "1"
    assert kedro_run.callback is not None
    warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")  # both spellings are fine here
    try:
        return kedro_run.callback(**options)
    except Exception as error:
        if type(error).__name__ == "ParameterValidationError":
            from cdm_kedro.params.files import read_parameters
            from cdm_kedro.pipeline_registry import configuration

            said = read_parameters(*configuration()).explain(str(error)) or error  # --params can be wrong too
            raise click.ClickException(f"wrong parameters\n{said}") from None
        raise


run = Command(
    "run",
    callback=_run,
    params=[
        *kedro_run.params,
        click.Option(["--force"], is_flag=True, help="Run fresh stages too, and record them anew."),
        click.Option(
            ["--wait"],
            type=click.FloatRange(0),
            envvar="CDM_WAIT",
            help="Seconds to wait for another run; else without limit.",
        ),
    ],
    help="Run the stale stages of a pipeline and record them in dvc.lock; fresh ones are skipped.",
)
