"""Node of the stage ``reference``."""

from pathlib import Path

from cdm_kedro.params.evaluation import EvaluateParams


def make_reference(params: EvaluateParams, **betons: Path) -> dict[str, Path]:
    """Compute the statistics of real images, once for each data set, size and extractor.

    Returns ``reference``: npz with the statistics of each file (see ``write_reference``). ``train_features``: npy (N,
    D) float16, the features of all training images at the largest size, for the search of nearest neighbours.
    """
    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.reference import write_reference
    from cdm_kedro.tracking.scratch import scratch_dir

    folder = scratch_dir("reference")
    largest = max((name for name in betons if name.startswith("train_")), key=lambda name: int(name.split("_")[1]))
    out = {"reference": folder / "reference.npz", "train_features": folder / "train_features.npy"}
    write_reference(out["reference"], make_extractor(params), params, betons, {largest: out["train_features"]})
    return out
