"""Node that finds what the extractors notice."""

from __future__ import annotations

from pathlib import Path

from cdm_kedro.params.evaluation import EvaluateParams


def try_extractors(
    evaluate: EvaluateParams, classifier: Path, reference: Path, classifier_reference: Path, val: Path
) -> dict[str, dict[str, float]]:
    """Find what each extractor notices on real images.

    Args:
        evaluate: the first extractor, and limits.
        classifier: weights of the second.
        reference: real images by the first.
        classifier_reference: real images by the second.
        val: FFCV file of validation images.

    Returns:
        Extractor to what :func:`cdm_kedro.studies.claim.sensitivity.sensitivity` returns.
    """
    import numpy as np

    from cdm_kedro.data.beton import check_beton
    from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.reference import read_reference
    from cdm_kedro.evaluation.sources import BetonSource
    from cdm_kedro.studies.claim.sensitivity import sensitivity

    out = {}
    extractors = (make_extractor(evaluate), reference), (classifier_extractor(classifier), classifier_reference)
    for extractor, path in extractors:
        with np.load(path, allow_pickle=False) as arrays:
            train = read_reference(arrays, f"train_{check_beton(val).resolution}/").moments
        out[extractor.name] = sensitivity(BetonSource(val), train, extractor, evaluate)
    return out
