"""The commands that `kedro` gains in this project, one a file."""

from __future__ import annotations

import click

from cdm_kedro.cli.dvc_yaml import dvc_yaml
from cdm_kedro.cli.evaluation import evaluate_samples, reference_statistics
from cdm_kedro.cli.lineage import lineage
from cdm_kedro.cli.model_sizes import model_sizes
from cdm_kedro.cli.replay_runs import replay_runs
from cdm_kedro.cli.run import run
from cdm_kedro.cli.sampling import sample_class


@click.group(name="cdm_kedro")
def cli() -> None:
    """Commands of cdm-kedro, which Kedro adds to its own."""


for command in (run, dvc_yaml, evaluate_samples, lineage, model_sizes, reference_statistics, replay_runs, sample_class):
    cli.add_command(command)
