"""`kedro jupyter` as Kedro has it; without Jupyter it says what to install."""

from importlib.util import find_spec

import click
from kedro.framework.cli.jupyter import jupyter as kedros

from cdm_kedro.cli.command import Command

_NEEDS = {"setup": "ipykernel", "notebook": "notebook", "lab": "jupyterlab"}


class _Group(Command, click.Group):
    """A group that says errors as a command does."""


@click.group("jupyter", cls=_Group, commands=kedros.commands, help=kedros.help)
@click.pass_context
def jupyter(ctx: click.Context) -> None:
    """Refuse a subcommand whose package is not there."""
    needed = _NEEDS.get(ctx.invoked_subcommand or "", "ipykernel")
    if find_spec(needed) is None:
        raise click.ClickException(f"{needed} is not installed: pip install -c constraints.txt -e '.[notebook]'")
