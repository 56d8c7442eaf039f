"""What a scheduler has to start: the stale stages and those after them, below one MLflow run."""

import difflib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kedro.pipeline import Pipeline

from cdm_kedro.errors import CdmError
from cdm_kedro.pipeline_registry import by_stage, configuration
from cdm_kedro.provenance.staleness import Staleness
from cdm_kedro.tracking.delivery import Deliverer, default_tracking_uri

log = logging.getLogger(__name__)


def refuse_unknown(name: str) -> None:
    """Raise CdmError for a pipeline that the environment does not have."""
    from kedro.framework.project import pipelines

    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.pipelines.extras import FIGURES, extra_stages

    if name in pipelines:
        return
    (conf, env), elsewhere = configuration(), []
    for other in sorted(path.name for path in conf.iterdir() if any(path.glob("parameters*.yml"))):
        try:
            extras = extra_stages(read_cascade(conf, other))
        except CdmError:  # a mistake in another environment does not matter here
            continue
        if FIGURES.get(name, name) in extras or any(name in stages for stages in extras.values()):
            elsewhere.append(f"--env={other}")
    known = ", ".join(sorted(pipelines))
    where = f"; it exists with {' or '.join(elsewhere)}" if elsewhere else f". There are: {known}"
    raise CdmError(f"there is no pipeline {name!r} in environment {env or 'base'}{where}")


def refuse_unselectable(names: Iterable[str], asked: Mapping[str, Any], params: Iterable[str]) -> None:
    """Raise CdmError if selectors of `kedro run` or top-level keys of ``--params`` name what these pipelines lack."""
    from kedro.framework.project import pipelines

    from cdm_kedro.params.explain import not_a_key
    from cdm_kedro.params.files import read_parameters

    for key in sorted({*params} - (keys := read_parameters(*configuration()).values.keys())):
        raise CdmError(f"--params: {not_a_key(key, keys)}")
    pipeline = sum((pipelines[name] for name in names), Pipeline([]))
    known = {
        **dict.fromkeys(("from_nodes", "to_nodes", "node_names"), tuple(node.name for node in pipeline.nodes)),
        **dict.fromkeys(("from_inputs", "to_outputs"), pipeline.datasets()),
        "tags": {tag for node in pipeline.nodes for tag in node.tags},
        "namespaces": {node.namespace for node in pipeline.nodes if node.namespace},
    }
    for option, allowed in known.items():
        for name in set(asked.get(option) or ()).difference(allowed):
            option = option.replace("node_names", "nodes").replace("_", "-")
            near = difflib.get_close_matches(name, allowed, max(1, len(allowed)), 0.0)
            raise CdmError(f"--{option}: {not_a_key(name, near, 'in this pipeline')}")


class Job(NamedTuple):
    """One stage to run."""

    stage: str
    why: list[str]
    """The reasons why it is stale; not looked for where a stage before it runs first."""
    after: list[str]
    """The stages of this plan, or already in the queue, that must succeed first."""

    def __str__(self) -> str:
        after = f", after {', '.join(self.after)}" if self.after else ""
        return f"{self.stage}{after}{', because ' if self.why else ''}{'; '.join(self.why)}"


def plan(root: Path, env: str | None, name: str, queued: Iterable[str] = ()) -> tuple[list[Job], list[str]]:
    """Look at a pipeline, after bringing dvc.yaml and the digests of the code up to date.

    Stages that are ``queued`` have a job already; they are not planned again, but others wait for them. Returns what is
    to be run, dependencies first, and the names of all stages. Raises CdmError if there is no such pipeline.
    """
    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroSession

    from cdm_kedro.pipeline_registry import extra_of_stages
    from cdm_kedro.provenance.code import Code
    from cdm_kedro.provenance.dvcfile import code_stage, out_of_date, refresh

    with KedroSession.create(root, env=env) as session:
        context = session.load_context()  # type: ignore[attr-defined]
        refuse_unknown(name)
        stages = [stage for stage, _ in by_stage(pipelines[name])]
        extra_of, code = extra_of_stages(), Code(root)
        staleness = Staleness(root, env, extra_of)
        extras = {extra_of[stage] for stage in stages if stage in extra_of}
        if out_of_date(root, env, extras):
            staleness.alone(lambda: refresh(context.catalog, root, env, extras))
        code.record(staleness, [code_stage(extra) for extra in (None, *sorted(extras))], root / "src")
        return stale_jobs(staleness, pipelines[name], queued), stages


def stale_jobs(staleness: Staleness, pipeline: Pipeline, queued: Iterable[str] = ()) -> list[Job]:
    """The stages that are stale or come after a stale one, dependencies first; see :func:`plan`."""
    jobs: list[Job] = []
    makers: dict[str, str] = {}
    waiting = set(queued)
    for stage, nodes in by_stage(pipeline):
        after = sorted({makers[name] for node in nodes for name in node.inputs if name in makers})
        if stage not in waiting:
            why = [] if after else staleness.why_stale(stage)  # its inputs are in use while a stage before it runs
            if not (why or after):
                continue
            jobs.append(Job(stage, why, after))
        makers |= {name: stage for node in nodes for name in node.outputs}
    return jobs


def open_run(root: Path, title: str, env: str | None) -> str | None:
    """Make the MLflow run below which the stages' runs will be; None where MLflow does not answer."""
    tags = {"cdm.env": env or "base", "cdm.door": "scheduler", "cdm.role": "cascade"}  # no process owns it
    try:
        deliverer = Deliverer(default_tracking_uri(root), root / "mlruns")
        run = deliverer.client.create_run(deliverer.experiment, run_name=title, tags=tags)
    except Exception as error:  # whatever the server does, the work goes on
        log.warning("MLflow does not answer (%s): every stage will be a run of its own", str(error).splitlines()[0])
        return None
    return str(run.info.run_id)


def close_run(root: Path, run: str, status: str) -> None:
    """End a run that :func:`open_run` made."""
    Deliverer(default_tracking_uri(root), root / "mlruns").client.set_terminated(run, status)
