"""Generated samples as an FFCV file, so that a classifier reads them as it reads real images."""

import logging
from pathlib import Path

import numpy as np

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.sources import NpzSource

log = logging.getLogger(__name__)
_FEW = 200  # samples a class


def samples_to_beton(samples: Path, path: Path, classes: list[str]) -> None:
    """Write samples with labels as a raw FFCV file; if the file is there already, it stays.

    Raises CdmError if there are no labels, or labels of other classes, or a class has no sample.
    """
    source = NpzSource(samples)
    if source.labels is None:
        raise CdmError(f"{samples}: has no labels (arr_1); a classifier cannot be trained on it")
    counts = np.bincount(source.labels, minlength=len(classes))
    if source.labels.min() < 0 or len(counts) > len(classes):
        raise CdmError(
            f"{samples}: labels from {source.labels.min()} to {source.labels.max()}; "
            f"the data has classes 0 to {len(classes) - 1}"
        )
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise CdmError(
            f"{samples}: {len(empty)} of {len(classes)} classes have no sample ({', '.join(empty[:5])}…); the "
            "Classification Accuracy Score needs every class: raise sample.num_samples, or set cas.num_samples"
        )
    if counts.min() < _FEW:
        told = "%s has %d samples of some classes; a classifier trained on so few says little (cas.num_samples)"
        log.warning(told, samples, counts.min())
    if not path.exists():
        images = (source.read([number])[0] for number in range(source.count))
        write_beton(path, source.labels, source.read([0]).shape[1], images)
