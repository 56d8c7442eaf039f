"""Node that finds what the extractors notice."""

from pathlib import Path

from cdm_kedro.params.evaluation import EvaluateParams


def try_extractors(
    evaluate: EvaluateParams, classifier: Path, reference: Path, classifier_reference: Path, val: Path
) -> dict[str, dict[str, float]]:
    """Find what each extractor notices on real images; see :func:`cdm_kedro.studies.claim.sensitivity.sensitivity`.

    ``val`` is the FFCV file of the validation images, the references are npz files by either extractor.
    """
    from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.reference import read_references
    from cdm_kedro.evaluation.sources import BetonSource
    from cdm_kedro.studies.claim.sensitivity import sensitivity

    source, out = BetonSource(val), {}
    extractors = {reference: make_extractor(evaluate), classifier_reference: classifier_extractor(classifier)}
    for path, extractor in extractors.items():
        train = read_references(path, source.resolution, extractor)["train"].moments
        out[extractor.name] = sensitivity(source, train, extractor, evaluate)
    return out
