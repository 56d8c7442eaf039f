"""Node that samples and scores every point of the claim with one seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.claim import ClaimSweepParams
from cdm_kedro.params.evaluation import EvaluateParams


def make_scores(seed: int) -> Callable[..., dict[str, Any]]:
    """The node of a seed."""

    def score_points(
        params: ClaimSweepParams,
        evaluate: EvaluateParams,
        reference: Path,
        classifier: Path,
        classifier_reference: Path,
        baseline: Path,
        **inputs: Path,
    ) -> dict[str, Any]:
        """Sample and score all points; see :func:`cdm_kedro.studies.claim.scores.score_points`.

        Returns its rows as ``table`` (CSV), and ``pictures`` (npz). ``inputs``: see ``sampling.inputs.sort_inputs``.
        """
        from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
        from cdm_kedro.evaluation.extractors.make import make_extractor
        from cdm_kedro.evaluation.scoring import make_scorer
        from cdm_kedro.files.table import to_csv
        from cdm_kedro.model.load import read_description
        from cdm_kedro.sampling.inputs import sort_inputs
        from cdm_kedro.studies.claim.scores import score_points
        from cdm_kedro.tracking.scratch import scratch_dir

        files = sort_inputs(inputs)
        resolution = read_description(files.models[params.stage])[0].resolution
        extractors = {reference: make_extractor(evaluate), classifier_reference: classifier_extractor(classifier)}
        scorers = [make_scorer(extractor, evaluate, path, resolution) for path, extractor in extractors.items()]
        folder = scratch_dir(f"claim_seed{seed}")
        rows, pictures = score_points(seed, params, scorers, files, baseline, folder)
        return {"table": to_csv(rows), "pictures": pictures}

    return score_points
