"""What the commands share: how they say errors, the option --env, and the project's parameters and catalog."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cdm_kedro.errors import CdmError, CdmInterrupted


class Command(click.Command):
    """A command that says an error of this package in a sentence; a traceback would bury it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises click.ClickException in place of a :class:`CdmError`. Raises SystemExit if work was
        interrupted; the code says by which signal.
        """
        try:
            return super().invoke(ctx)
        except CdmError as error:
            raise click.ClickException(str(error)) from error
        except CdmInterrupted as error:
            click.echo(str(error), err=True)
            raise SystemExit(error.code) from None


def env_option(what: str) -> Any:
    """The option ``--env``, which KEDRO_ENV stands in for; its help says whose environment it is."""
    return click.option("--env", "-e", envvar="KEDRO_ENV", help=what)


@contextmanager
def open_catalog(root: Path, env: str | None) -> Iterator[Any]:
    """The catalog of a project's environment. Raises CdmError if a dataset that the block loads is not there."""
    from kedro.framework.session import KedroSession
    from kedro.io import DatasetError

    with KedroSession.create(root, env=env) as session:
        try:
            yield session.load_context().catalog  # type: ignore[attr-defined]
        except DatasetError as error:
            raise CdmError(str(error)) from None
