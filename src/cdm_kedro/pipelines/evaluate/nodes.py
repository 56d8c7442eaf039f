"""Evaluation node: scores of generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdm_kedro.params.evaluation import EvaluateParams


def evaluate(
    params: EvaluateParams, reference: Path, train_features: Path, classes: list[str], **samples: Path
) -> dict[str, Any]:
    """Score samples at every resolution against training and validation images.

    Args:
        params: extractor and limits.
        reference: what the reference stage made.
        train_features: npy (N, D), features of all training images at the largest size.
        classes: names in index order.
        samples: ``samples_<resolution>`` npz files.

    Returns:
        ``metrics``: per resolution Fréchet distance (``fid`` with the canonical Inception network only, else
        ``fd_<extractor>``), kernel distance, Inception-style score, precision, recall, and ``n``; the extractor's
        identity; and at the largest size how near the samples come to training images. ``single_images``: npz for
        the report's pictures.
    """
    import time

    import numpy as np

    from cdm_kedro.evaluation.extractors.make import make_extractor
    from cdm_kedro.evaluation.measure import measure
    from cdm_kedro.evaluation.memorization import judge_single_images
    from cdm_kedro.evaluation.reference import check_identity, read_reference, save_arrays
    from cdm_kedro.evaluation.scoring import absent_classes, describe, score
    from cdm_kedro.evaluation.sources import NpzSource
    from cdm_kedro.tracking.live import live
    from cdm_kedro.tracking.scratch import scratch_dir

    extractor = make_extractor(params)
    metrics: dict[str, Any] = {"extractor": describe(extractor)}
    out = scratch_dir("evaluate") / "single_images.npz"
    largest = max(samples, key=lambda name: int(name.removeprefix("samples_")))
    with np.load(reference, allow_pickle=False) as arrays:
        check_identity(arrays, extractor, reference)
        for name, path in samples.items():
            resolution = name.removeprefix("samples_")
            source, started = NpzSource(path), time.monotonic()
            summary = measure(source, extractor, params, f"score {resolution}")
            seconds = time.monotonic() - started
            references = {split: read_reference(arrays, f"{split}_{resolution}/") for split in ("train", "val")}
            scores = score(summary, references, extractor.name)
            remarks = (scores.pop("note", None), absent_classes(source.labels, len(classes)))
            live().log_metrics({f"images_per_second_{resolution}": summary.n / seconds}, step=0)
            if any(remarks):
                scores["note"] = ". ".join(r for r in remarks if r)
            metrics[f"{resolution}px"] = scores
            if name == largest:
                memorization, single = judge_single_images(
                    summary, references["train"], references["val"], np.load(train_features, mmap_mode="r"), params.seed
                )
                metrics["memorization"] = memorization
                save_arrays(out, single)
    return {"metrics": metrics, "single_images": out}
