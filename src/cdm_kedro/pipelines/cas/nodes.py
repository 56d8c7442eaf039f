"""Node of the classification accuracy score that trains and tests a classifier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdm_kedro.params.cas import CasParams


def make_classify(kind: str, resolution: int) -> Callable[..., dict[str, Any]]:
    """The node that trains a classifier on ``real`` or ``generated`` images of a resolution."""

    def classify(images: Path, validation: Path, classes: list[str], params: CasParams) -> dict[str, Any]:
        """Train a ResNet on the images and test it on real validation images.

        Returns ``scores`` (top-1 and top-5 accuracy in percent, counts by class) and ``curve``. ``images``: FFCV file
        of real training images, or npz of samples with labels.
        """
        from cdm_kedro.studies.cas.generated import samples_to_beton
        from cdm_kedro.tracking.scratch import scratch_dir
        from cdm_kedro.training.classifier.launch import train_classifier

        stage, beton = f"cas_{kind}_{resolution}", images
        if kind == "generated":
            beton = scratch_dir(stage) / f"generated_{images.stat().st_mtime_ns}.beton"
            samples_to_beton(images, beton, classes)
        scores, curve = train_classifier(stage, params, beton, validation, len(classes), origin=images)
        return {"scores": scores, "curve": curve}

    return classify
