"""Generated samples as an FFCV file, so that a classifier reads them as it reads real images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.errors import SourceError
from cdm_kedro.evaluation.sources import NpzSource

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Labelled:
    def __init__(self, source: NpzSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return self.source.count

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        assert self.source.labels is not None
        return np.ascontiguousarray(self.source.read([index])[0]), int(self.source.labels[index])


def samples_to_beton(samples: Path, path: Path, classes: list[str]) -> None:
    """Write samples with labels as a raw FFCV file; if the file is there already, it stays.

    Args:
        samples: npz in the ADM evaluator's convention.
        path: FFCV file to write.
        classes: class names in index order.

    Raises:
        SourceError: There are no labels, or labels of other classes, or a class has no sample.
    """
    source = NpzSource(samples)
    if source.labels is None:
        raise SourceError(f"{samples}: has no labels (arr_1); a classifier cannot be trained on it")
    counts = np.bincount(source.labels, minlength=len(classes))
    if source.labels.min() < 0 or len(counts) > len(classes):
        raise SourceError(
            f"{samples}: labels from {source.labels.min()} to {source.labels.max()}; "
            f"the data has classes 0 to {len(classes) - 1}"
        )
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise SourceError(
            f"{samples}: {len(empty)} of {len(classes)} classes have no sample ({', '.join(empty[:5])}…); the "
            "Classification Accuracy Score needs every class: raise sample.num_samples"
        )
    if not path.exists():
        write_beton(_Labelled(source), path, f"write {path.name}")
