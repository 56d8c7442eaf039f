"""Nodes of the second extractor: a classifier that is trained on the same training images."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.tracking.scratch import scratch_dir

NAME = "claim_classifier"


def train_classifier(
    images: Path, validation: Path, classes: list[str], data_card: dict[str, Any], params: ClassifierParams
) -> dict[str, Any]:
    """Train a ResNet on real training images and test it on real validation images (FFCV files).

    Returns ``model`` (safetensors), ``card`` (its accuracy) and ``curve``.
    """
    from cdm_kedro.training.classifier.launch import train_classifier

    weights = scratch_dir(NAME) / "classifier.safetensors"
    scores, curve = train_classifier(NAME, params, images, validation, len(classes), weights=weights)
    source = data_card["betons"][f"train_{scores['resolution']}"]
    return {"model": weights, "card": {**scores, "data": source}, "curve": curve}


def make_classifier_reference(evaluate: EvaluateParams, classifier: Path, train: Path, val: Path) -> Path:
    """Compute the statistics of real images in the classifier's features, as the stage ``reference`` does."""
    from cdm_kedro.data.beton import check_beton
    from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
    from cdm_kedro.evaluation.reference import write_reference

    out, resolution = scratch_dir("claim_reference") / "reference.npz", check_beton(train).resolution
    betons = {f"train_{resolution}": train, f"val_{resolution}": val}
    write_reference(out, classifier_extractor(classifier), evaluate, betons)
    return out
