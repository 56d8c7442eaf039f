"""Reference node: statistics of real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams


def make_reference(params: EvaluateParams, **betons: Path) -> dict[str, Path]:
    """Feature statistics of real images, once for each data set, size and extractor.

    Args:
        params: extractor and limits.
        betons: ``train_<resolution>`` and ``val_<resolution>`` FFCV files.

    Returns:
        ``reference``: npz with, for each of them, ``<name>/n``, ``<name>/features`` of some images with their
        ``<name>/indices``, and ``<name>/mu``, ``<name>/sigma`` where those are not all. ``train_features``: npy
        (N, D) float16, features of all training images at the largest size, among which nearest neighbours are looked
        for.
    """
    import numpy as np

    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.measure import measure
    from cdm_kedro.evaluation.reference import identity, save_arrays, summary_arrays
    from cdm_kedro.evaluation.sources import BetonSource
    from cdm_kedro.tracking.scratch import scratch_dir

    extractor = make_extractor(params)
    folder = scratch_dir("reference")
    largest = max((name for name in betons if name.startswith("train_")), key=lambda name: int(name.split("_")[1]))
    stored = folder / "train_features.npy"
    arrays: dict[str, Any] = identity(extractor)
    for name, path in betons.items():
        source = BetonSource(path)
        if name != largest:
            arrays |= summary_arrays(measure(source, extractor, params, f"real {name}"), f"{name}/")
            continue
        count = min(source.count, params.max_images or source.count)
        rows = np.lib.format.open_memmap(stored, "w+", np.float16, (count, extractor.dim))

        def keep(first: int, features: Any, rows: Any = rows) -> None:
            rows[first : first + len(features)] = features

        arrays |= summary_arrays(measure(source, extractor, params, f"real {name}", keep), f"{name}/")
        rows.flush()
    out = folder / "reference.npz"
    save_arrays(out, arrays)
    return {"reference": out, "train_features": stored}
