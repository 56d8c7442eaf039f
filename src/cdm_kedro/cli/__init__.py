"""The commands that `kedro` gains in this project, one a file."""

from cdm_kedro.cli.group import cli
from cdm_kedro.cli.run import run

__all__ = ["cli", "run"]
