"""Images and statistics from anywhere: scores of one set against another, and statistics of a set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.measure import measure
from cdm_kedro.evaluation.reference import (
    Reference,
    identity,
    is_statistics,
    load_statistics,
    save_arrays,
    summary_arrays,
)
from cdm_kedro.evaluation.scoring import describe, score
from cdm_kedro.evaluation.sources import FolderSource, Source, open_source
from cdm_kedro.params.evaluation import EvaluateParams


class ExternalError(CdmError, ValueError):
    """Images, statistics or weights that cannot be used; the message names the file and the remedy."""


def _open(key: str, path: Path, size: int | None) -> Source:
    try:
        return open_source(path, size)
    except ValueError as error:
        raise ExternalError(f"{key}: {error}") from None


def _sizes(samples: Source, real: Source) -> list[str]:
    sides = [source.read([0]).shape[1:3] for source in (samples, real)]
    if sides[0] == sides[1]:
        return []
    a, b = (f"{width} x {height}" for height, width in sides)
    return [f"the samples are {a} pixels, the reference images {b}"]


def score_samples(params: EvaluateParams, samples: Path, reference: Path, size: int | None = None) -> dict[str, Any]:
    """Score images against others, or against statistics.

    Args:
        params: extractor and limits.
        samples: see :func:`~cdm_kedro.evaluation.sources.open_source`.
        reference: the same, or an npz with ``mu`` and ``sigma``, which gives the Fréchet distance alone unless ours.
        size: side in pixels to which images of folders are cropped and resized; None takes them as they are.

    Returns:
        The paths, the extractor, the scores (see :func:`~cdm_kedro.evaluation.scoring.score`), and a ``note`` on what
        is doubtful about them.

    Raises:
        ExternalError: anything that cannot be read or compared, or a size where neither is a folder.
    """
    try:
        if size is not None and not samples.is_dir() and not reference.is_dir():
            raise ExternalError(f"size {size} is for folders of images; neither {samples} nor {reference} is one")
        judged = _open("samples", samples, size if samples.is_dir() else None)
        real = None if is_statistics(reference) else _open("reference", reference, size if reference.is_dir() else None)
        extractor = make_extractor(params)
        if real is None:
            compared, remarks = load_statistics(reference, extractor)
        else:
            remarks = _sizes(judged, real)
            found = measure(real, extractor, params, "reference")
            compared = Reference(found.moments, found.features, found.indices)
        scores = score(measure(judged, extractor, params, "samples"), {"": compared}, extractor.name)
    except ValueError as error:
        raise ExternalError(str(error)) from None
    if isinstance(judged, FolderSource) and size is not None:
        remarks.append(f"the samples were cropped and resized to {size} pixels")
    note = ". ".join([*([scores.pop("note")] if "note" in scores else []), *remarks])
    return {
        "samples": str(samples),
        "reference": str(reference),
        "extractor": describe(extractor),
        **scores,
        **({"note": note} if note else {}),
    }


def write_statistics(params: EvaluateParams, source: Path, output: Path, size: int | None = None) -> str:
    """Write ``mu`` and ``sigma`` of images' features, with the extractor's identity and some of the features.

    Args:
        params: extractor and limits.
        source: see :func:`~cdm_kedro.evaluation.sources.open_source`.
        output: npz file.
        size: as in :func:`score_samples`.

    Returns:
        What the file holds, in words.

    Raises:
        ExternalError: images or weights that cannot be read.
    """
    try:
        opened = open_source(source, size)
        extractor = make_extractor(params)
        summary = measure(opened, extractor, params, "reference")
    except ValueError as error:
        raise ExternalError(str(error)) from None
    save_arrays(output, {**summary_arrays(summary, always_sigma=True), **identity(extractor)})
    few = " (not more images than feature dimensions: sigma is singular)" if summary.n <= extractor.dim else ""
    return f"{summary.n} images, {extractor.name}{few}"
