"""Evaluation nodes: statistics of real images, and scores of generated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams

_STORED_FEATURES = 2000


def make_reference(params: EvaluateParams, **betons: Path) -> Path:
    """Feature statistics of real images, once for each data set, size and extractor.

    Args:
        params: extractor and limits.
        betons: ``train_<resolution>`` and ``val_<resolution>`` FFCV files.

    Returns:
        npz with, for each of them, ``<name>/mu``, ``<name>/sigma`` (or ``<name>/features`` alone where that is
        smaller), ``<name>/n`` and up to 2000 rows of ``<name>/features`` for the kernel distance and precision/recall.
    """
    import numpy as np

    from cdm_kedro.data.beton import check_beton, iterate_beton
    from cdm_kedro.evaluation.features import make_extractor
    from cdm_kedro.evaluation.statistics import MomentsAccumulator
    from cdm_kedro.provenance.scratch import scratch_dir

    extractor = make_extractor(params.extractor, params.weights, params.input_side)
    arrays: dict[str, Any] = {
        "extractor": np.array(extractor.name),
        "weights_sha256": np.array(extractor.weights_sha256),
    }
    for name, path in betons.items():
        count = min(check_beton(path).num_samples, params.max_images or check_beton(path).num_samples)
        accumulator, kept = MomentsAccumulator(), 0
        rows: list[Any] = []

        def stream(path: Path = path, count: int = count) -> Any:
            return iterate_beton(path, params.batch_size, count)

        from tqdm import tqdm

        with tqdm(total=count, desc=f"real {name}", unit="img") as bar:
            for batch in stream():
                features, _ = extractor(batch)
                accumulator.add(features)
                if kept < _STORED_FEATURES:
                    rows.append(features[: _STORED_FEATURES - kept])
                    kept += len(rows[-1])
                bar.update(len(batch))
        arrays[f"{name}/features"] = np.concatenate(rows)
        arrays[f"{name}/n"] = np.array(accumulator.n)
        if accumulator.n > kept:
            found = accumulator.moments()
            arrays[f"{name}/mu"], arrays[f"{name}/sigma"] = found.mu, found.sigma
    out = scratch_dir("reference") / "reference.npz"
    with out.open("wb") as file:
        np.savez(file, **arrays)
    return out


def evaluate(params: EvaluateParams, reference: Path, **samples: Path) -> dict[str, Any]:
    """Score samples at every resolution against training and validation images.

    Args:
        params: extractor and limits.
        reference: what :func:`make_reference` made.
        samples: ``samples_<resolution>`` npz files.

    Returns:
        Per resolution: Fréchet distance (``fid`` with the canonical Inception network only, else ``fd_<extractor>``),
        kernel distance, Inception-style score, precision, recall, and ``n``; with the extractor's identity.
    """
    import numpy as np

    from cdm_kedro.evaluation.features import make_extractor
    from cdm_kedro.evaluation.scores import score_features
    from cdm_kedro.evaluation.sources import batches, open_npz

    extractor = make_extractor(params.extractor, params.weights, params.input_side)
    with np.load(reference, allow_pickle=False) as file:
        if str(file["weights_sha256"]) != extractor.weights_sha256 or str(file["extractor"]) != extractor.name:
            raise ValueError(
                f"{reference} was made with {file['extractor']}, not {extractor.name}; rerun the reference stage"
            )
        stored = {key: file[key] for key in file.files}
    metrics: dict[str, Any] = {
        "extractor": {
            "name": extractor.name,
            "weights_sha256": extractor.weights_sha256,
            "preprocessing": extractor.preprocessing,
            "dim": extractor.dim,
        }
    }
    for name, path in samples.items():
        resolution = name.removeprefix("samples_")
        images, _ = open_npz(path)
        images = images[: params.max_images]
        features, logits = extractor.all(batches(images, params.batch_size), len(images), f"score {resolution}")
        metrics[f"{resolution}px"] = score_features(features, logits, stored, resolution, extractor.name, params)
    return metrics
