"""Nodes that search over how a trained model is sampled: they score every point, and keep the best."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.search import SearchParams
from cdm_kedro.studies.search.points import POINTS


def make_search(search: str) -> Callable[..., dict[str, Any]]:
    """The node of a search."""

    def run_search(params: SearchParams, evaluate: EvaluateParams, reference: Path, **inputs: Path) -> dict[str, Any]:
        """Score a model at every point of a search; see :func:`cdm_kedro.studies.search.run.run_search`.

        ``inputs``: see ``sampling.inputs.sort_inputs``; real images of the low resolution are for a search over s.
        """
        from cdm_kedro.sampling.inputs import sort_inputs
        from cdm_kedro.studies.search.run import run_search
        from cdm_kedro.tracking.scratch import scratch_dir

        return run_search(search, params, evaluate, reference, sort_inputs(inputs), scratch_dir(search))

    run_search.__annotations__["params"] = POINTS[search].__annotations__["params"]  # Kedro reads the type there
    return run_search
