"""Node of the stage ``evaluate``."""

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams


def evaluate(
    params: EvaluateParams, reference: Path, train_features: Path, classes: list[str], **samples: Path
) -> dict[str, Any]:
    """Compare the samples (npz ``samples_<resolution>``) with training and validation images at every resolution.

    Returns ``metrics``, see :func:`cdm_kedro.evaluation.evaluate.evaluate_cascade`, and ``single_images``, an npz for
    the report's pictures.
    """
    from cdm_kedro.evaluation.evaluate import evaluate_cascade
    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.files.npz import write_arrays
    from cdm_kedro.tracking.scratch import scratch_dir

    by_resolution = {int(name.removeprefix("samples_")): path for name, path in samples.items()}
    extractor, out = make_extractor(params), scratch_dir("evaluate") / "single_images.npz"
    metrics, chosen = evaluate_cascade(extractor, params, reference, train_features, classes, by_resolution)
    write_arrays(out, chosen)
    return {"metrics": metrics, "single_images": out}
