"""The commands that `kedro` gains in this project."""

import click

from cdm_kedro.cli.evaluation import evaluate_samples, reference_statistics
from cdm_kedro.cli.images import inspect_images, side_by_side
from cdm_kedro.cli.models import estimate, model_sizes
from cdm_kedro.cli.playground import playground
from cdm_kedro.cli.run import jupyter, run
from cdm_kedro.cli.runs import lineage, parent_run, replay_runs
from cdm_kedro.cli.sampling import sample_class, upsample
from cdm_kedro.cli.stages import accept, code_digests, dvc_yaml, slurm

cli = click.Group("cdm_kedro", [
    run, accept, code_digests, dvc_yaml, estimate, evaluate_samples, inspect_images, jupyter, lineage, model_sizes,
    parent_run, playground, reference_statistics, replay_runs, sample_class, side_by_side, slurm, upsample,
])  # fmt: skip
