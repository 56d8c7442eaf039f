"""`kedro accept`: says that an edit does not change a result."""

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

    from cdm_kedro.pipeline_registry import by_stage, extra_of_stages
    from cdm_kedro.provenance.code import Code
    from cdm_kedro.provenance.dvcfile import code_stage
    from cdm_kedro.provenance.staleness import Staleness
    from cdm_kedro.tracking.runs import Tracking

    root = metadata.project_path
    with open_catalog(root, env):
        extra_of = extra_of_stages()
        known = {*extra_of, *(name for name, _ in by_stage(pipelines["__default__"]))}
        for stage in stages:
            if stage not in known:
                raise click.ClickException(
                    f"{stage} is no stage of environment {env or 'base'}; there are {sorted(known)}"
                )
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
                        tracking.tags(tracked, {"cdm.accepted": because, "cdm.key.before": old, **outputs})
                said = f"accepted, with {'; '.join(changes)}" if changes else "fresh, nothing to accept"
                click.echo(f"{stage}: {said}")
            tracking.close("FINISHED")
        finally:
            code.discard()
