"""Commands that Kedro has too: `kedro run` runs the stale stages; `kedro jupyter` says what to install."""

import inspect
import os
import warnings
from importlib.util import find_spec
from typing import Any

import click
from kedro.framework.cli.jupyter import jupyter as kedros
from kedro.framework.cli.project import run as kedro_run
from kedro.runner import AbstractRunner
from kedro.utils import load_obj

from cdm_kedro.cli.command import Command


def _refuse_no_runner(name: str, params: dict[str, Any]) -> None:
    try:
        kind = load_obj(name, "kedro.runner")
        if not (isinstance(kind, type) and issubclass(kind, AbstractRunner)):
            raise TypeError("it is no runner")
        inspect.signature(kind).bind(**params)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise click.BadParameter(f"{name}: {error}; one is SequentialRunner", param_hint="--runner") from None


def _run(force: bool, wait: float | None, **options: Any) -> Any:
    _refuse_no_runner(options["runner"] or "SequentialRunner", options["runner_params"])
    if options["load_versions"]:
        raise click.BadParameter("`dvc checkout` brings back earlier versions", param_hint="--load-versions")
    os.environ["CDM_RESTARTS"] = "1"
    if wait is not None:
        os.environ["CDM_WAIT"] = str(wait)
    if force:
        os.environ["CDM_FORCE"] = "1"
    assert kedro_run.callback is not None
    warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")  # both spellings are fine here
    return kedro_run.callback(**options)


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

_NEEDS = {"setup": "ipykernel", "notebook": "notebook", "lab": "jupyterlab"}


class _Group(Command, click.Group):
    """A group that says errors as a command does."""


@click.group("jupyter", cls=_Group, commands=kedros.commands, help=kedros.help)
@click.pass_context
def jupyter(ctx: click.Context) -> None:
    """Refuse a subcommand whose package is not there."""
    needed = _NEEDS.get(ctx.invoked_subcommand or "", "ipykernel")
    if find_spec(needed) is None:
        raise click.ClickException(f"{needed} is not installed: pip install -c constraints.txt notebook")
