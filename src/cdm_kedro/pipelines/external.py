"""Nodes that compute metrics and statistics of files from outside the project."""

import logging
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.external import ExternalParams

log = logging.getLogger(__name__)


def score_external(params: EvaluateParams, external: ExternalParams) -> dict[str, Any]:
    """Compare ``external.samples`` with ``external.reference``; see ``evaluation.external.score_samples``."""
    from cdm_kedro.evaluation.external import score_samples
    from cdm_kedro.tracking.live import live

    assert external.samples is not None and external.reference is not None
    metrics = score_samples(params, external.samples, external.reference, external.size)
    live().log_metrics(metrics, step=0)
    return metrics


def make_external_statistics(params: EvaluateParams, external: ExternalParams) -> Path:
    """Write the statistics of ``external.statistics_of``; see ``evaluation.external.write_statistics``."""
    from cdm_kedro.evaluation.external import write_statistics
    from cdm_kedro.tracking.scratch import scratch_dir

    assert external.statistics_of is not None
    out = scratch_dir("reference_external") / "statistics.npz"
    log.info("%s: %s", external.statistics_of, write_statistics(params, external.statistics_of, out, external.size))
    return out


def external_pipelines() -> dict[str, Pipeline]:
    """Pipelines for files outside the project, which `--params=external…` asks for; they are no stages."""
    inputs = {"params": "params:evaluate", "external": "params:external"}
    nodes = {
        "evaluate_external": Node(score_external, inputs, "external_scores", name="evaluate_external"),
        "reference_external": Node(make_external_statistics, inputs, "external_statistics", name="reference_external"),
    }
    return {name: Pipeline([node]) for name, node in nodes.items()}
