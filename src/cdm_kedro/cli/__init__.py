"""The commands that `kedro` gains in this project, one a file."""

import click

from cdm_kedro.cli.accept import accept
from cdm_kedro.cli.code_digests import code_digests
from cdm_kedro.cli.dvc_yaml import dvc_yaml
from cdm_kedro.cli.estimate import estimate
from cdm_kedro.cli.evaluation import evaluate_samples, reference_statistics
from cdm_kedro.cli.inspect_images import inspect_images
from cdm_kedro.cli.jupyter import jupyter
from cdm_kedro.cli.lineage import lineage
from cdm_kedro.cli.model_sizes import model_sizes
from cdm_kedro.cli.parent_run import parent_run
from cdm_kedro.cli.replay_runs import replay_runs
from cdm_kedro.cli.run import run
from cdm_kedro.cli.sampling import sample_class
from cdm_kedro.cli.side_by_side import side_by_side
from cdm_kedro.cli.slurm import slurm


@click.group(name="cdm_kedro")
def cli() -> None:
    """Commands of cdm-kedro, which Kedro adds to its own."""


for command in (
    run, accept, code_digests, dvc_yaml, estimate, evaluate_samples, inspect_images, jupyter, lineage, model_sizes,
    parent_run, reference_statistics, replay_runs, sample_class, side_by_side, slurm,
):  # fmt: skip
    cli.add_command(command)
