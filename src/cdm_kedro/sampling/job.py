"""A whole sampling job: shards that survive interruption, merged into ADM-convention npz files."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.sampling.cascade import Cascade

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SamplingResult:
    """Resolution to npz, and throughput."""

    files: dict[int, Path]
    summary: dict[str, float]


def balanced_labels(num_samples: int, num_classes: int) -> NDArray[np.int64]:
    """Sample i has class i modulo the number of classes, so that every prefix is balanced."""
    return np.arange(num_samples, dtype=np.int64) % num_classes


def write_npz(path: Path, shards: list[Path], resolution: int, labels: NDArray[np.int64]) -> None:
    """Merge shards into ``arr_0`` (N, H, W, 3) uint8 and ``arr_1`` (N,) int64, one shard in memory at a time."""
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        # A fixed date keeps the bytes a function of the samples alone.
        with archive.open(zipfile.ZipInfo("arr_0.npy", (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as file:
            shape = (len(labels), resolution, resolution, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for shard in shards:
                with np.load(shard, allow_pickle=False) as arrays:
                    file.write(np.ascontiguousarray(arrays[str(resolution)]).tobytes())
        with archive.open(zipfile.ZipInfo("arr_1.npy", (1980, 1, 1, 0, 0, 0)), "w") as file:
            np.lib.format.write_array(file, labels, allow_pickle=False)
    os.replace(part, path)


def _shards(num_samples: int, batch_size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, num_samples, batch_size):
        yield start, min(start + batch_size, num_samples)


def sample_to_files(cascade: Cascade, params: SampleParams, folder: Path) -> SamplingResult:
    """Sample ``params.num_samples`` images at every resolution.

    Args:
        cascade: loaded models.
        params: how many, seed, batch size.
        folder: existing; finished shards of an interrupted call there are kept.

    Returns:
        Files ``samples_<resolution>.npz`` in ``folder``.
    """
    from tqdm import tqdm

    labels = balanced_labels(params.num_samples, cascade.num_classes)
    work = cascade.work()
    each = sum(work.values())
    steps = {stage.name: len(stage.schedule) for stage in cascade.stages}
    parts = folder / "shards"
    parts.mkdir(parents=True, exist_ok=True)
    shards, made, started = [], 0, time.monotonic()
    with tqdm(
        total=params.num_samples,
        desc="sample",
        unit="img",
        bar_format="{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
    ) as bar:

        def progress(name: str, images: int) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update(
                min(images * work[name] / steps[name] / each, params.num_samples - bar.n)
            )  # sums of fractions overshoot

        for start, stop in _shards(params.num_samples, params.batch_size):
            path = parts / f"{start:08d}.npz"
            shards.append(path)
            if path.exists():
                bar.update(stop - start)
                continue
            indices = torch.arange(start, stop)
            images = cascade.sample(torch.from_numpy(labels[start:stop]), indices, params.seed, progress)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, **{str(r): x.permute(0, 2, 3, 1).cpu().numpy() for r, x in images.items()})
            os.replace(part, path)
            made += stop - start
    seconds = time.monotonic() - started
    files = {}
    for stage in cascade.stages:
        resolution = stage.params.resolution
        files[resolution] = folder / f"samples_{resolution}.npz"
        write_npz(files[resolution], shards, resolution, labels)
    summary = {"images_per_second": made / seconds, "seconds": seconds, "num_samples": float(params.num_samples)}
    (folder / "throughput.json").write_text(json.dumps(summary))
    return SamplingResult(files, summary)
