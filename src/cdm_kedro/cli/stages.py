"""Commands about stages: what dvc.yaml and dvc.lock say of them, and how others than `kedro run` run them."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option, open_catalog


@click.command(cls=Command)
@click.argument("stages", nargs=-1, required=True)
@click.option("--because", required=True, help="Why the result stays the same; MLflow and the lineage keep it.")
@env_option("Environment of the stages.")
@click.pass_obj
def accept(metadata: Any, stages: tuple[str, ...], because: str, env: str | None) -> None:
    """Record the outputs of STAGES as what the present code and parameters make, without running them.

    It is refused where data changed, or where outputs are not the recorded ones.
    """
    from kedro.framework.project import pipelines

    from cdm_kedro.params.explain import not_a_key
    from cdm_kedro.pipeline_registry import by_stage, extra_of_stages
    from cdm_kedro.provenance.code import Code
    from cdm_kedro.provenance.dvcfile import code_stage
    from cdm_kedro.provenance.staleness import Staleness
    from cdm_kedro.tracking.runs import Tracking

    root = metadata.project_path
    with open_catalog(root, env):
        extra_of = extra_of_stages()
        known = {*extra_of, *(name for name, _ in by_stage(pipelines["__default__"]))}
        for stage in sorted({*stages} - known):
            raise click.ClickException(not_a_key(stage, sorted(known), f"a stage of environment {env or 'base'}"))
        staleness = Staleness(root, env, extra_of)
        code, tracking = Code(root), Tracking(root, "accept", env)
        try:
            code.take()
            code.record(staleness, dict.fromkeys(code_stage(extra_of.get(stage)) for stage in stages))
            for stage in stages:
                run, old, changes = staleness.accept(stage)
                if changes:
                    with tracking.stage(stage, run.key, changes, {}) as tracked:
                        outputs = {f"accepted.{out.def_path}": out.hash_info.value for out in run.stage.outs}
                        tags = {"cdm.accepted": because, "cdm.key.before": old, **outputs}
                        tracking.recorder.submit(op="tags", run=tracked, values=tags)
                said = f"accepted, with {'; '.join(changes)}" if changes else "fresh, nothing to accept"
                click.echo(f"{stage}: {said}")
            tracking.close("FINISHED")
        finally:
            code.discard()


@click.command("code-digests", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("modules", nargs=-1)
@click.pass_obj
def code_digests(metadata: Any, folder: Path, modules: tuple[str, ...]) -> None:
    """Write to FOLDER what the nodes of MODULES reach by imports; `dvc repro` runs this when code was edited."""
    from cdm_kedro.provenance.digests import NODES, write_digests

    write_digests(folder, [NODES + module for module in modules], metadata.project_path / "src")
    stage = os.environ.get("DVC_STAGE")
    if stage is not None:  # DVC's cache may be lost, for this stage's outputs live there too
        from cdm_kedro.provenance.staleness import Staleness

        Staleness(metadata.project_path).all_back_to_cache(stage.rpartition(":")[0] or "dvc.yaml")


@click.command("dvc-yaml", cls=Command)
@env_option("Environment; its file is dvc/<env>/dvc.yaml, base's is dvc.yaml.")
@click.option("--pipeline", "-p", help="An extra pipeline; its file is dvc/<env or base>/<pipeline>/dvc.yaml.")
@click.option("--check", is_flag=True, help="Change nothing; fail if the cascade's file is out of date.")
@click.pass_obj
def dvc_yaml(metadata: Any, env: str | None, pipeline: str | None, check: bool) -> None:
    """Write dvc.yaml from the pipeline, the catalog and the parameters; `kedro run` does it by itself when needed."""
    from cdm_kedro.pipeline_registry import extra_of_stages
    from cdm_kedro.provenance.dvcfile import dvc_file, refresh, render

    root = metadata.project_path
    with open_catalog(root, env) as catalog:
        if check:
            path = dvc_file(root, env)
            if not path.is_file() or path.read_bytes() != render(catalog, root, env).encode():
                option = f" {shlex.quote(f'--env={env}')}" if env else ""
                raise click.ClickException(f"{path} is out of date; run `kedro dvc-yaml{option}`")
            return
        extras = sorted(set(extra_of_stages().values()))
        if pipeline is not None and pipeline not in extras:
            raise click.ClickException(f"--pipeline {pipeline} is no extra pipeline; those are {extras}")
        for path in refresh(catalog, root, env, [pipeline] if pipeline else []):
            click.echo(f"wrote {path}")


def _slurm_params(root: Path, env: str | None) -> Any:
    from kedro.framework.project import pipelines

    from cdm_kedro.params.explain import not_a_key
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.slurm import SlurmParams

    parameters = read_parameters(root / "conf", env)
    params = parameters.read("slurm", SlurmParams | None) or SlurmParams.model_validate({})
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
    from cdm_kedro.provenance.slurm import CdmError, Slurm, queue

    root = metadata.project_path
    queued = {} if dry_run else queue(root, env)
    jobs, stages = plan(root, env, pipeline, [stage for stage, job in queued.items() if job.active])
    cluster = Slurm(root, env, _slurm_params(root, env))
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
        except CdmError:
            if run:
                close_run(root, run, "FAILED")
            raise
        for job in jobs:
            click.echo(f"job {numbers[job.stage]}: {job}")
    else:
        click.echo("nothing to submit: every stage is fresh or in the queue")
