"""Features of a set of images, made in blocks that survive an interruption, by one process or by many."""

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from cdm_kedro.evaluation.extractors.extractor import Extractor
from cdm_kedro.evaluation.sources import Images, Source
from cdm_kedro.files.atomic import written_whole
from cdm_kedro.files.npz import write_arrays
from cdm_kedro.processes.launch import processes_wanted, slurm_nodes
from cdm_kedro.processes.shards import run_workers
from cdm_kedro.tracking import scratch

RUNS_MODULES = ("cdm_kedro.evaluation.worker",)

_BLOCK = 4096  # images at most; smaller sets have about 64 blocks, so that many processes find work

Batch = tuple[int, NDArray[np.float32], NDArray[np.float32] | None]
"""Index of the first image, (B, D) features, and (B, classes) logits where the network gives them."""


@dataclass(frozen=True)
class FeatureJob:
    """What to make, and where; workers read it as a pickle that this project wrote."""

    folder: Path
    source: Source
    spans: Sequence[range]
    remake: Callable[[torch.device], Extractor] | None

    def blocks(self) -> list[Sequence[range]]:
        """The batches of each block. They depend on the set alone, so that any number of processes continues."""
        each = max(1, min(_BLOCK, self.spans[-1].stop // 64) // len(self.spans[0]))
        return [self.spans[start : start + each] for start in range(0, len(self.spans), each)]

    def file(self, block: Sequence[range]) -> Path:
        """Where a block is kept."""
        return self.folder / f"{block[0].start:09d}.npz"


def features_of(
    source: Source, extractor: Extractor, spans: Sequence[range], devices: int | str, description: str
) -> Iterator[Batch]:
    """The features of every batch in order, with a progress bar.

    In a stage's run they are kept in its folder for unfinished work until the stage ends, and the nodes of a Slurm job
    share the work; elsewhere the processes of this machine do.
    """
    kept = os.environ.get(scratch.VARIABLE)
    nodes = slurm_nodes() if kept and extractor.remake else 1
    processes = min(processes_wanted(devices), len(spans)) if extractor.remake else 1
    with tqdm(total=spans[-1].stop, desc=description, unit="img") as bar:
        if processes == nodes == 1 and not kept:
            for span, images in zip(spans, read_ahead(source, spans), strict=True):
                yield span.start, *extractor(images)
                bar.update(len(span))
            return
        # Several sources may read one file in different ways; a source's pickle says all that it does.
        which = (pickle.dumps(source), *extractor.describe().values(), len(spans[0]), spans[-1].stop)
        name = hashlib.sha256(repr(which).encode()).hexdigest()[:16]
        with nullcontext(Path(kept, "features")) if kept else tempfile.TemporaryDirectory() as folder:
            job = FeatureJob(Path(folder, name), source, spans, extractor.remake)
            job.folder.mkdir(parents=True, exist_ok=True)
            if processes == nodes == 1:
                make_blocks(job, extractor, bar.update)
            else:
                file = job.folder / "job.pickle"
                with written_whole(file) as part:
                    part.write_bytes(pickle.dumps(job))
                run_workers(RUNS_MODULES[0], file, description, processes, nodes, lambda _, images: bar.update(images))
            yield from _read_blocks(job)


def make_blocks(
    job: FeatureJob, extractor: Extractor, progress: Callable[[int], object], rank: int = 0, size: int = 1
) -> int:
    """Make this process's missing blocks. Returns images worked on, without those of earlier calls."""
    own = job.blocks()[rank::size]
    missing = [block for block in own if not job.file(block).exists()]
    progress(sum(len(span) for block in own if block not in missing for span in block))
    images = read_ahead(job.source, [span for block in missing for span in block])
    for block in missing:
        found = []
        for span in block:
            found.append(extractor(next(images)))
            progress(len(span))
        features, logits = zip(*found, strict=True)
        arrays = {"features": np.concatenate(features)}
        write_arrays(job.file(block), arrays if logits[0] is None else arrays | {"logits": np.concatenate(logits)})
    return sum(len(span) for block in missing for span in block)


def _read_blocks(job: FeatureJob) -> Iterator[Batch]:
    for block in job.blocks():
        with np.load(job.file(block), allow_pickle=False) as arrays:
            features, logits = arrays["features"], arrays.get("logits")
        for span in block:
            rows = slice(span.start - block[0].start, span.stop - block[0].start)
            yield span.start, features[rows], None if logits is None else logits[rows]


def read_ahead(source: Source, spans: Sequence[range]) -> Iterator[Images]:
    """The images of each batch; a thread reads the next one while the current one is worked on."""
    with ThreadPoolExecutor(1, "read-images") as pool:
        submitted = (pool.submit(source.read, span) for span in spans)
        waiting = next(submitted, None)
        while waiting is not None:
            images, waiting = waiting.result(), next(submitted, None)
            yield images
