"""Images and statistics from outside the project: metrics of one set against another, and statistics of a set."""

from pathlib import Path
from typing import Any

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.collect import Reference, collect
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.reference import identity, is_statistics, load_statistics, summary_arrays
from cdm_kedro.evaluation.scoring import score
from cdm_kedro.evaluation.sources import FolderSource, Source, open_source
from cdm_kedro.files.npz import write_arrays
from cdm_kedro.params.evaluation import EvaluateParams


def score_samples(params: EvaluateParams, samples: Path, reference: Path, size: int | None = None) -> dict[str, Any]:
    """Compute the metrics of images against other images, or against statistics.

    Returns the paths, the extractor, the metrics of :func:`~cdm_kedro.evaluation.scoring.score`, and a ``note`` on what
    makes them doubtful. Raises CdmError if images, statistics or weights cannot be used. ``reference``: the same, or an
    npz with ``mu`` and ``sigma``; if another evaluator wrote it, the Fréchet distance is the only metric. ``size``:
    that of :class:`FolderSource`, for the folders among them.
    """
    if size is not None and not samples.is_dir() and not reference.is_dir():
        raise CdmError(f"size {size} is for folders of images; neither {samples} nor {reference} is one")
    opened = _open("samples", samples, size)
    real = None if is_statistics(reference) else _open("reference", reference, size)
    extractor = make_extractor(params)
    remarks: list[str] = []
    compared: Reference
    if real is None:
        compared, remarks = load_statistics(reference, extractor)
    else:
        ours, theirs = ("{1} x {0}".format(*source.read([0]).shape[1:3]) for source in (opened, real))
        if ours != theirs:
            remarks.append(f"the samples are {ours} pixels, the reference images {theirs}")
        compared = collect(real, extractor, params, "reference")
    metrics = score(collect(opened, extractor, params, "samples"), {"": compared}, extractor.name)
    if isinstance(opened, FolderSource) and size is not None:
        remarks.append(f"the samples were cropped and resized to {size} pixels")
    if "note" in metrics:
        remarks.insert(0, metrics.pop("note"))
    return {
        "samples": str(samples),
        "reference": str(reference),
        "extractor": extractor.describe(),
        **metrics,
        **({"note": ". ".join(remarks)} if remarks else {}),
    }


def _open(key: str, path: Path, size: int | None) -> Source:
    try:
        return open_source(path, size if path.is_dir() else None)
    except CdmError as error:
        raise CdmError(f"{key}: {error}") from None


def write_statistics(params: EvaluateParams, source: Path, output: Path, size: int | None = None) -> str:
    """Write ``mu`` and ``sigma`` of images' features, with the extractor's identity and some of the features.

    Returns what the file holds, in words. Raises CdmError if the images or the weights cannot be used.
    """
    opened, extractor = open_source(source, size), make_extractor(params)
    summary = collect(opened, extractor, params, "reference")
    write_arrays(output, {**summary_arrays(summary, always_sigma=True), **identity(extractor)})
    few = " (not more images than feature dimensions: sigma is singular)" if summary.n <= extractor.dim else ""
    return f"{summary.n} images, {extractor.name}{few}"
