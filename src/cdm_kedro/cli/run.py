"""`kedro run`: runs the stale stages; says wrong input in a sentence instead of a traceback."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.utils import find_kedro_project

from cdm_kedro.errors import CdmError, CdmInterrupted


def _run(force: bool, **options: Any) -> Any:
    if force:
        os.environ["CDM_FORCE"] = "1"
    if options.get("env"):
        os.environ["KEDRO_ENV"] = options["env"]  # the registry reads the cascade's shape from this environment
    assert kedro_run.callback is not None
    warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")  # both spellings are fine here
    try:
        return kedro_run.callback(**options)
    except CdmError as error:  # its message says what to do; a traceback would bury it
        raise click.ClickException(str(error)) from error
    except CdmInterrupted as error:
        click.echo(str(error), err=True)
        raise SystemExit(error.code) from None
    except Exception as error:
        if type(error).__name__ == "ParameterValidationError":
            from cdm_kedro.params.explain import explain

            root = find_kedro_project(Path.cwd()) or Path()
            said = explain(str(error), root / "conf", options.get("env"))
            if said is not None:
                raise click.ClickException(f"wrong parameters\n{said}") from None
        raise


run = click.Command(
    "run",
    callback=_run,
    params=[
        *kedro_run.params,
        click.Option(["--force"], is_flag=True, help="Run fresh stages too, and record them anew."),
    ],
    help="Run the stale stages of a pipeline and record them in dvc.lock; fresh ones are skipped.",
)
