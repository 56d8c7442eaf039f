"""What the commands share: how they say errors, the option --env, and the project's parameters and catalog."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cdm_kedro.errors import CdmError, CdmInterrupted
from cdm_kedro.files.places import refuse_unwritable, said_of


class Command(click.Command):
    """A command that says in a sentence what a user can mend; a traceback would bury it."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options; see click.Command."""
        with _in_a_sentence():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises CdmError in place of an error of the system about a path, of YAML, the catalog, DVC or MLflow. Raises
        SystemExit if work was interrupted; the code says by which signal.
        """
        try:
            with _in_a_sentence(ctx.params.get("params")):
                return super().invoke(ctx)
        except CdmInterrupted as error:
            click.echo(str(error), err=True)
            raise SystemExit(error.code) from None


@contextmanager
def _in_a_sentence(given: Any = None) -> Iterator[None]:
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        from kedro.framework.cli.utils import KedroCliError  # which shows the error before it instead of its own

        if isinstance(error, click.ClickException) and not isinstance(error, KedroCliError):
            raise
        if type(error).__name__ == "ParameterValidationError":
            from cdm_kedro.params.files import read_parameters
            from cdm_kedro.pipeline_registry import configuration

            found, message = read_parameters(*configuration()), str(error)
            whole = found.overlaid(given) if isinstance(given, dict) else found
            raise CdmError(f"wrong parameters\n{found.explain(message) or whole.explain(message) or message}") from None
        said = error.message if isinstance(error, KedroCliError) else _sentence(error)
        if said is None:
            raise
        raise CdmError(" ".join(said.split())) from error


def _sentence(error: BaseException) -> str | None:
    import yaml
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError
    from kedro.io import DatasetError

    cause: BaseException | None = error
    while cause is not None:  # of an error that Kedro or DVC wrapped
        if isinstance(cause, CdmError):
            return str(cause)
        if isinstance(cause, OSError) and (said := said_of(cause)):
            return said
        cause = cause.__cause__
    if isinstance(error, yaml.YAMLError):
        return str(error)
    if isinstance(error, DatasetError):
        return f"catalog*.yml in conf: {error}"
    if isinstance(error, DvcException | SCMError):
        return f"DVC: {'; '.join(filter(None, (str(error), str(error.__cause__ or ''))))}"
    return f"MLflow: {error}" if type(error).__name__ == "MlflowException" else None


def env_option(what: str) -> Any:
    """The option ``--env``, which KEDRO_ENV stands in for; its help says whose environment it is."""
    return click.option("--env", "-e", envvar="KEDRO_ENV", help=what)


def refuse_output(*outputs: Path, inputs: Sequence[Path] = ()) -> None:
    """Write nothing to each file, so that one that cannot be written, or that is read, is said before the work."""
    refuse_unwritable(outputs)
    for output in outputs:
        if output.resolve() in [path.resolve() for path in inputs]:
            raise click.ClickException(f"{output}: is read, so it cannot be written; name another file")
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a") as file:
            if file.tell() == 0:
                output.unlink()


@contextmanager
def open_catalog(root: Path, env: str | None) -> Iterator[Any]:
    """The catalog of a project's environment."""
    from kedro.framework.session import KedroSession

    with KedroSession.create(root, env=env) as session:
        yield session.load_context().catalog  # type: ignore[attr-defined]
