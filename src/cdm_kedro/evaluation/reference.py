"""Statistics of real images in npz files: those of the reference stage, and those that evaluators exchange."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.collect import Reference, Summary, collect
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.sources import BetonSource
from cdm_kedro.evaluation.statistics import Moments, moments
from cdm_kedro.files.npz import write_arrays
from cdm_kedro.params.evaluation import EvaluateParams


def write_reference(
    path: Path,
    extractor: Extractor,
    params: EvaluateParams,
    betons: Mapping[str, Path],
    all_features: Mapping[str, Path] | None = None,
) -> None:
    """Write the statistics of several sets of real images to one npz file.

    Of each set it holds what :func:`summary_arrays` makes, under the prefix ``<name>/``. ``betons``: FFCV file of each
    set by name, such as ``train_64``. ``all_features``: that of :func:`collect`, for some of the sets.
    """
    arrays = identity(extractor)
    for name, beton in betons.items():
        rows = (all_features or {}).get(name)
        summary = collect(BetonSource(beton), extractor, params, f"real {name}", rows)
        arrays |= summary_arrays(summary, f"{name}/")
    write_arrays(path, arrays)


def read_references(path: Path, resolution: int | str, extractor: Extractor | None = None) -> dict[str, Reference]:
    """Statistics of the training and the validation images of one resolution that :func:`write_reference` wrote.

    Returns ``train`` and ``val``. Raises CdmError if another network than ``extractor`` made the file; None skips this.
    """
    with np.load(path, allow_pickle=False) as arrays:
        if extractor is not None:
            check_identity(arrays, extractor, path)
        return {split: read_reference(arrays, f"{split}_{resolution}/") for split in ("train", "val")}


def read_extractor(path: Path) -> str:
    """Name of the extractor with which :func:`write_reference` wrote a file."""
    with np.load(path, allow_pickle=False) as arrays:
        return str(arrays["extractor"])


def summary_arrays(summary: Summary, prefix: str = "", always_sigma: bool = False) -> dict[str, Any]:
    """A summary as named arrays.

    Returns ``n``, ``features`` (K, D) with their ``indices`` (K,), ``mu`` (D,) and ``sigma`` (D, D). ``always_sigma``:
    store ``mu`` and ``sigma`` even if the stored features imply them.
    """
    arrays: dict[str, Any] = {
        f"{prefix}n": np.array(summary.n),
        f"{prefix}features": summary.features,
        f"{prefix}indices": summary.indices,
    }
    if always_sigma or summary.n > len(summary.features):
        arrays |= {f"{prefix}mu": summary.moments.mu, f"{prefix}sigma": summary.moments.covariance()}
    return arrays


def read_reference(arrays: Mapping[str, Any], prefix: str = "") -> Reference:
    """What :func:`summary_arrays` stored, or ``mu`` and ``sigma`` of another evaluator; it reads only what it needs.

    Raises KeyError if the arrays are not there. Raises ValueError if their shapes do not fit, or values are not finite.
    """
    features = arrays.get(f"{prefix}features")
    indices = arrays.get(f"{prefix}indices")
    if f"{prefix}sigma" not in arrays and features is not None:
        return Reference(moments(features), features, indices)
    mu = np.asarray(arrays[f"{prefix}mu"], np.float64)
    sigma = np.asarray(arrays[f"{prefix}sigma"], np.float64)
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise ValueError(f"mu has shape {mu.shape} and sigma {sigma.shape}; expected (D,) and (D, D)")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ValueError("mu or sigma holds NaN or infinity")
    if not np.allclose(sigma, sigma.T, atol=1e-6 * max(1.0, float(np.abs(sigma).max()))):
        raise ValueError("sigma is not symmetric")
    n = arrays.get(f"{prefix}n")
    return Reference(Moments(mu, None if n is None else int(n), sigma=(sigma + sigma.T) / 2), features, indices)


def identity(extractor: Extractor) -> dict[str, Any]:
    """Arrays that say which network made the features."""
    said = {"extractor": extractor.name, **extractor.describe()}
    return {key: np.array(said[key]) for key in ("extractor", "weights_sha256", "preprocessing")}


def check_identity(arrays: Mapping[str, Any], extractor: Extractor, path: Path) -> list[str]:
    """Compare the extractor of a file with ours.

    Returns remarks to print beside the numbers: files of other evaluators do not name their extractor. Raises
    CdmError if another extractor or other weights made the file.
    """
    if "extractor" not in arrays:
        return [f"{path.name} does not say which network made it; it is taken to be {extractor.name}"]
    theirs = str(arrays["extractor"]), str(arrays["weights_sha256"])
    if theirs != (extractor.name, extractor.weights_sha256):
        raise CdmError(
            f"{path} was made with {theirs[0]} (weights {theirs[1][:8]}…), not {extractor.name} "
            f"({extractor.weights_sha256[:8]}…); make it again with the same evaluate.extractor, weights and input_side"
        )
    return []


def is_statistics(path: Path) -> bool:
    """Whether an npz file holds ``mu`` and ``sigma``."""
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"mu.npy", "sigma.npy"} <= set(archive.namelist())


def load_statistics(path: Path, extractor: Extractor) -> tuple[Reference, list[str]]:
    """Statistics of one set of images from a file of ours, of pytorch-fid or of ADM.

    Returns the statistics and remarks to print beside the numbers. Raises CdmError if the file is unreadable, or
    of another extractor or number of dimensions.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            remarks = check_identity(arrays, extractor, path)
            reference = read_reference(arrays)
    except CdmError:
        raise
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise CdmError(f"{path}: not usable statistics: {error}") from None
    if len(reference.moments.mu) != extractor.dim:
        raise CdmError(
            f"{path}: statistics of {len(reference.moments.mu)} dimensions; {extractor.name} has {extractor.dim}"
        )
    return reference, remarks
