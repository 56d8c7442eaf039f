"""What the commands share."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from cdm_kedro.cli import cli
from cdm_kedro.cli.command import Command, env_option
from cdm_kedro.errors import CdmError, CdmInterrupted


def command_that_raises(error: BaseException) -> click.Command:
    @click.command(cls=Command)
    def failing() -> None:
        raise error

    return failing


@pytest.mark.parametrize("error", [CdmError("do this"), CdmError("do this")])
def test_own_errors_are_said_in_a_sentence(error: CdmError) -> None:
    done = CliRunner().invoke(command_that_raises(error))
    assert (done.exit_code, done.output) == (1, "Error: do this\n")


def test_an_interruption_keeps_its_exit_code() -> None:
    done = CliRunner().invoke(command_that_raises(CdmInterrupted("stopped at step 3", 143)))
    assert (done.exit_code, done.output) == (143, "stopped at step 3\n")


def test_other_errors_keep_their_traceback() -> None:
    done = CliRunner().invoke(command_that_raises(ZeroDivisionError()))
    assert isinstance(done.exception, ZeroDivisionError)


def test_kedro_env_stands_in_for_the_option() -> None:
    @click.command(cls=Command)
    @env_option("Environment.")
    def shown(env: str | None) -> None:
        click.echo(str(env))

    assert CliRunner().invoke(shown, env={"KEDRO_ENV": "test"}).output == "test\n"
    assert CliRunner().invoke(shown, ["--env=claim"], env={"KEDRO_ENV": "test"}).output == "claim\n"
    assert CliRunner().invoke(shown, env={"KEDRO_ENV": None}).output == "None\n"


def test_every_command_says_errors_alike() -> None:
    assert all(isinstance(command, Command) for command in cli.commands.values())
