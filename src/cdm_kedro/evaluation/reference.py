"""Stored statistics of real images, and the ``mu``, ``sigma`` npz files that evaluators exchange."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.measure import Summary
from cdm_kedro.evaluation.statistics import Moments, moments


class StatisticsError(CdmError, ValueError):
    """A file that does not hold the statistics that are needed; the message names it."""


@dataclass(frozen=True)
class Reference:
    """Statistics of real images.

    Attributes:
        moments: of their features.
        features: (K, D) of some of them, and ``indices`` (K,) their places; None in files of other evaluators.
    """

    moments: Moments
    features: NDArray[np.float32] | None = None
    indices: NDArray[np.int64] | None = None


def summary_arrays(summary: Summary, prefix: str = "", always_sigma: bool = False) -> dict[str, Any]:
    """A summary as named arrays.

    Args:
        summary: to be stored.
        prefix: of the names.
        always_sigma: keep ``mu`` and ``sigma`` also where the stored features imply them.
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
    """What :func:`summary_arrays` stored, or ``mu`` and ``sigma`` of another evaluator; reads only what it needs.

    Raises:
        KeyError: not there.
        ValueError: shapes that do not fit, or values that are not finite.
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
    """Arrays that say what made the features."""
    return {
        "extractor": np.array(extractor.name),
        "weights_sha256": np.array(extractor.weights_sha256),
        "preprocessing": np.array(extractor.preprocessing),
    }


def check_identity(arrays: Mapping[str, Any], extractor: Extractor, path: Path) -> list[str]:
    """Compare a file's extractor with ours.

    Returns:
        Remarks to print beside the numbers: a file of another evaluator does not name its extractor.

    Raises:
        StatisticsError: another extractor or other weights.
    """
    if "extractor" not in arrays:
        return [f"{path.name} does not say which network made it; it is taken to be {extractor.name}"]
    theirs = str(arrays["extractor"]), str(arrays["weights_sha256"])
    if theirs != (extractor.name, extractor.weights_sha256):
        raise StatisticsError(
            f"{path} was made with {theirs[0]} (weights {theirs[1][:8]}…), not {extractor.name} "
            f"({extractor.weights_sha256[:8]}…); make it again with the same evaluate.extractor, weights and input_side"
        )
    return []


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz file with reproducible bytes: whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name, value in arrays.items():
                info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                with archive.open(info, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def is_statistics(path: Path) -> bool:
    """Whether an npz file holds ``mu`` and ``sigma``."""
    if path.suffix != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {"mu.npy", "sigma.npy"} <= set(archive.namelist())


def load_statistics(path: Path, extractor: Extractor) -> tuple[Reference, list[str]]:
    """Statistics from a file of ours, of pytorch-fid or of ADM.

    Returns:
        The statistics and remarks to print beside the numbers.

    Raises:
        StatisticsError: unreadable, another extractor, or another number of dimensions.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            remarks = check_identity(arrays, extractor, path)
            reference = read_reference(arrays)
    except StatisticsError:
        raise
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StatisticsError(f"{path}: not usable statistics: {error}") from None
    if len(reference.moments.mu) != extractor.dim:
        raise StatisticsError(
            f"{path}: statistics of {len(reference.moments.mu)} dimensions; {extractor.name} has {extractor.dim}"
        )
    return reference, remarks
