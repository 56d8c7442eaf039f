"""Nodes of the second extractor: a classifier trained on the same training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.cas import ClassifierParams
from cdm_kedro.params.evaluation import EvaluateParams

NAME = "claim_classifier"


def train_classifier(
    images: Path, validation: Path, classes: list[str], data_card: dict[str, Any], params: ClassifierParams
) -> dict[str, Any]:
    """Train a ResNet on the real training images.

    Args:
        images: FFCV file of them.
        validation: FFCV file of the validation images, for its accuracy.
        classes: class names in index order.
        data_card: what preprocessing recorded.
        params: network and recipe.

    Returns:
        ``model`` (safetensors), ``card`` (its accuracy) and ``curve``.
    """
    from cdm_kedro.data.beton import check_beton
    from cdm_kedro.tracking.live import live
    from cdm_kedro.tracking.scratch import scratch_dir
    from cdm_kedro.training.classifier.job import ClassifierJob
    from cdm_kedro.training.classifier.launch import launch

    folder, beton, stat = scratch_dir(NAME), check_beton(images), Path(images).stat()
    weights = folder / "classifier.safetensors"
    run = live()
    job = ClassifierJob(
        name=NAME,
        params=params,
        resolution=beton.resolution,
        num_classes=len(classes),
        beton=str(images),
        validation=str(validation),
        workdir=str(folder),
        data={"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns},
        weights=str(weights),
    )

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "log":
            run.log_metrics(event["metrics"], step=event["step"])

    scores, curve = launch(job, beton.num_samples, on_event)
    run.log_metrics({"top1": scores["top1"]}, step=params.steps)
    source = data_card["betons"][f"train_{beton.resolution}"]
    return {"model": weights, "card": {**scores, "data": source}, "curve": curve}


def make_classifier_reference(evaluate: EvaluateParams, classifier: Path, train: Path, val: Path) -> Path:
    """Feature statistics of real images by the classifier, as the reference stage makes them by the other extractor.

    Args:
        evaluate: limits.
        classifier: its weights.
        train: FFCV file of training images.
        val: FFCV file of validation images.

    Returns:
        npz in the reference stage's form.
    """
    from cdm_kedro.data.beton import check_beton
    from cdm_kedro.evaluation.extractors.classifier import classifier_extractor
    from cdm_kedro.evaluation.measure import measure
    from cdm_kedro.evaluation.reference import identity, save_arrays, summary_arrays
    from cdm_kedro.evaluation.sources import BetonSource
    from cdm_kedro.tracking.scratch import scratch_dir

    extractor = classifier_extractor(classifier)
    arrays: dict[str, Any] = identity(extractor)
    for split, path in (("train", train), ("val", val)):
        name = f"{split}_{check_beton(path).resolution}"
        one_process = evaluate.model_copy(update={"devices": 1})
        arrays |= summary_arrays(measure(BetonSource(path), extractor, one_process, f"real {name}"), f"{name}/")
    out = scratch_dir("claim_reference") / "reference.npz"
    save_arrays(out, arrays)
    return out
