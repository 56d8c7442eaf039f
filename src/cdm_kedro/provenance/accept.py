"""Accepts a change of code or parameters that does not change a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cdm_kedro.pipeline_registry import by_stage, extra_of_stages
from cdm_kedro.provenance.code import Code
from cdm_kedro.provenance.dvcfile import code_stage
from cdm_kedro.provenance.staleness import ProvenanceError, Staleness
from cdm_kedro.tracking.runs import Tracking


def accept_stages(root: Path, env: str | None, stages: Sequence[str], because: str) -> Iterator[tuple[str, list[str]]]:
    """Record stages with their present code and parameters, in dvc.lock and with the reason in MLflow.

    Yields:
        A stage and what changed; nothing changed where it is fresh.

    Raises:
        ProvenanceError: a stage does not exist, or more than its code and parameters changed.
    """
    from kedro.framework.project import pipelines

    extra_of = extra_of_stages()
    known = {*extra_of, *(name for name, _ in by_stage(pipelines["__default__"]))}
    unknown = [stage for stage in stages if stage not in known]
    if unknown:
        raise ProvenanceError(f"{unknown[0]} is no stage of environment {env or 'base'}; there are {sorted(known)}")
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
            yield stage, changes
        tracking.close("FINISHED")
    finally:
        code.discard()
