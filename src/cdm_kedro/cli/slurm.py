"""`kedro slurm`: the stages of a pipeline as jobs of a Slurm cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdm_kedro.cli.command import Command, env_option

if TYPE_CHECKING:
    from cdm_kedro.params.slurm import SlurmParams


def _params(root: Path, env: str | None) -> "SlurmParams":
    from kedro.framework.project import pipelines

    from cdm_kedro.params.explain import not_a_key
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.slurm import SlurmParams

    parameters = read_parameters(root / "conf", env)
    params: SlurmParams = parameters.read("slurm", SlurmParams | None) or SlurmParams.model_validate({})
    stages = set(pipelines) - {"__default__", "cascade"}
    for name in set(params.stages) - stages:
        raise parameters.error(not_a_key(f"slurm.stages.{name}", sorted(stages)))
    return params


@click.command(cls=Command)
@click.option("--pipelines", "--pipeline", "-p", "pipeline", default="cascade", show_default=True, help="What to run.")
@env_option("Environment; its `slurm` parameters say what each stage asks for.")
@click.option("--dry-run", is_flag=True, help="Print the scripts; submit nothing.")
@click.option("--status", is_flag=True, help="Say where each stage is: fresh, in the queue, running, or failed.")
@click.pass_obj
def slurm(metadata: Any, pipeline: str, env: str | None, dry_run: bool, status: bool) -> None:
    """Submit one job for each stale stage and for those after it; each starts when the stages before it are done.

    A fresh stage submits nothing, and neither does one that is in the queue already. A job that nears its time limit
    saves, returns to the queue and resumes; a job whose node fails returns to the queue too.
    """
    from cdm_kedro.provenance.plan import close_run, open_run, plan
    from cdm_kedro.provenance.slurm import Slurm, SlurmError, queue

    root = metadata.project_path
    queued = {} if dry_run else queue(root, env)
    jobs, stages = plan(root, env, pipeline, [stage for stage, job in queued.items() if job.active])
    cluster = Slurm(root, env, _params(root, env))
    if status:
        planned = {job.stage: job for job in jobs}
        for name in stages:
            click.echo(cluster.describe(name, planned.get(name), queued.get(name)))
    elif dry_run:
        for job in jobs:
            click.echo(f"# {job}\n{cluster.script(job.stage)}")
    elif jobs:
        run = open_run(root, f"slurm {pipeline}", env)
        try:
            numbers = cluster.submit(jobs, pipeline, run)
        except SlurmError:
            if run:
                close_run(root, run, "FAILED")
            raise
        for job in jobs:
            click.echo(f"job {numbers[job.stage]}: {job}")
    else:
        click.echo("nothing to submit: every stage is fresh or in the queue")
