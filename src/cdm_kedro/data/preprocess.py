"""An image folder to FFCV files at every resolution: one decode an image, everything else derived from the 256 file."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections import Counter, deque
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdm_kedro.data.beton import check_beton, read_beton, read_labels
from cdm_kedro.data.beton_writer import write_beton
from cdm_kedro.data.crop import STORED_SIDE, BadImage, centre_crop, decode
from cdm_kedro.data.image_folder import ImageFolder, Sample, scan
from cdm_kedro.data.resample import downsample_numpy
from cdm_kedro.errors import CdmError
from cdm_kedro.files.hashes import sha256
from cdm_kedro.params.data import PreprocessParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


class BadImagesError(CdmError, RuntimeError):
    """Broken images under ``on_bad_image: fail``; the message lists every path."""


class _Window:
    """Sequential access to a slow function with a window of calls in flight on threads."""

    def __init__(self, count: int, workers: int) -> None:
        self.count, self.workers = count, workers
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[int, Future[tuple[NDArray[np.uint8], int]]]] = deque()
        self._next = 0

    def __len__(self) -> int:
        return self.count

    def compute(self, index: int) -> tuple[NDArray[np.uint8], int]:
        raise NotImplementedError

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        if self._pool is None:  # made in FFCV's writing process, after the fork
            self._pool, self._next = ThreadPoolExecutor(self.workers), index
        while self._next < self.count and len(self._ahead) < 8 * self.workers:
            self._ahead.append((self._next, self._pool.submit(self.compute, self._next)))
            self._next += 1
        at, future = self._ahead.popleft()
        if at != index:
            raise RuntimeError(f"expected sample {at}, was asked for {index}")
        return future.result()


class _Decoded(_Window):
    """Crops of files; a broken one becomes black filler and a line in the log file, since raising would hang FFCV."""

    def __init__(self, folder: ImageFolder, samples: list[Sample], params: PreprocessParams, notes: Path) -> None:
        import os

        super().__init__(len(samples), params.workers or os.cpu_count() or 1)
        self.folder, self.samples, self.params, self.notes = folder, samples, params, notes

    def compute(self, index: int) -> tuple[NDArray[np.uint8], int]:
        import cv2

        cv2.setNumThreads(1)
        sample = self.samples[index]
        try:
            image = decode(self.folder.root / sample.path, self.params.apply_exif_rotation)
            crop, notes, bad = centre_crop(image, self.params.resize), image.notes, None
        except Exception as error:  # everything must reach the parent as data
            crop, notes = np.zeros((STORED_SIDE, STORED_SIDE, 3), np.uint8), []
            bad = str(error) if isinstance(error, BadImage) else f"{type(error).__name__}: {error}"
        if notes or bad:
            with self.notes.open("a", encoding="utf-8") as file:  # one short append a line: atomic
                file.write(json.dumps({"index": int(index), "notes": notes, "bad": bad}) + "\n")
        return crop, sample.label


class _Derived(_Window):
    """Samples of a finished 256 file: some of them, or at a lower size."""

    def __init__(self, path: Path, indices: NDArray[np.int64], resolution: int) -> None:
        super().__init__(len(indices), 1)
        self.path, self.indices, self.resolution = path, indices, resolution
        self._block: tuple[int, NDArray[np.uint8], NDArray[np.int64]] | None = None

    def compute(self, index: int) -> tuple[NDArray[np.uint8], int]:
        block, offset = divmod(index, 64)
        if self._block is None or self._block[0] != block:
            images, labels = read_beton(self.path, self.indices[block * 64 : block * 64 + 64].tolist())
            if self.resolution != images.shape[1]:
                images = downsample_numpy(images, self.resolution)
            self._block = (block, images, labels)
        return self._block[1][offset], int(self._block[2][offset])


@dataclass
class _Outcome:
    bad: dict[str, str]
    notes: Counter[str]


def _read_notes(path: Path, samples: list[Sample]) -> _Outcome:
    outcome = _Outcome({}, Counter())
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["bad"]:
                outcome.bad[samples[record["index"]].path] = record["bad"]
            outcome.notes.update(record["notes"])
    return outcome


def _source_hash(folder: ImageFolder) -> str:
    digest = hashlib.sha256()
    for samples in folder.splits.values():
        for sample in samples:
            stat = (folder.root / sample.path).stat()
            digest.update(f"{sample.path}\0{stat.st_size}\n".encode())
    return digest.hexdigest()


def preprocess_folder(root: Path, out: Path, params: PreprocessParams) -> dict[str, Any]:
    """Write ``{train,val}_<resolution>.beton`` for every one of ``params.resolutions``.

    Args:
        root: image folder in ImageNet layout.
        out: existing folder for the files; a finished file there from the same call, interrupted, is kept.
        params: how.

    Returns:
        ``files`` (name to path), ``classes`` and ``data_card``.

    Raises:
        FolderError: wrong layout.
        BadImagesError: broken images under ``on_bad_image: fail``, or a class left without images.
    """
    # FFCV's writer forks; a process that has run OpenCV's or torch's threads would hang in the fork.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _writes_by_forking) as fresh:
        return fresh.submit(_preprocess, root, out, params).result()


def _writes_by_forking() -> None:
    multiprocessing.set_start_method("fork", force=True)  # a spawned process would spawn, importing ffcv for each file
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # writing calls nothing that importing ffcv would compile


def _preprocess(root: Path, out: Path, params: PreprocessParams) -> dict[str, Any]:
    folder = scan(root)
    card: dict[str, Any] = {
        "classes": len(folder.classes),
        "source": {
            "listing_sha256": _source_hash(folder),
            "images": {split: len(samples) for split, samples in folder.splits.items()},
        },
        "crop": {
            "side": STORED_SIDE,
            "square": "centre of the short side",
            "resize": "cv2 INTER_AREA, INTER_CUBIC below 256" if params.resize == "area" else "guided-diffusion",
            "lower_sizes": "mean over blocks of the 256 crop, rounded",
            "apply_exif_rotation": params.apply_exif_rotation,
        },
        "betons": {},
        "conversions": {},
        "per_class": {},
        "rejected": {},
    }
    files: dict[str, Path] = {}
    failures: dict[str, str] = {}
    outcomes: dict[str, tuple[list[Sample], _Outcome]] = {}
    for split, listed in folder.splits.items():
        order = np.random.Generator(np.random.Philox(key=params.seed)).permutation(len(listed))
        samples = [listed[i] for i in order]
        path, notes = out / f"{split}_{STORED_SIDE}.beton", out / f"{split}.notes.jsonl"
        if not path.exists():
            notes.unlink(missing_ok=True)
            write_beton(_Decoded(folder, samples, params, notes), path, f"{split} {STORED_SIDE}")
        outcome = _read_notes(notes, samples)
        outcomes[split] = (samples, outcome)
        failures |= outcome.bad
    if failures and params.on_bad_image == "fail":
        for split in folder.splits:  # they hold filler
            (out / f"{split}_{STORED_SIDE}.beton").unlink(missing_ok=True)
        raise BadImagesError(
            f"{len(failures)} broken image(s) in {root}:\n"
            + "\n".join(f"  {path}: {reason}" for path, reason in sorted(failures.items()))
            + "\nRepair or remove them, or set preprocess.on_bad_image: skip."
        )
    for split, (samples, outcome) in outcomes.items():
        full = out / f"{split}_{STORED_SIDE}.beton"
        good = np.array([i for i, sample in enumerate(samples) if sample.path not in outcome.bad], dtype=np.int64)
        if len(good) == 0:
            raise BadImagesError(f"{root / split}: every image is broken")
        if check_beton(full).num_samples != len(good):
            log.warning("%s: leaving out %d broken image(s)", split, len(outcome.bad))
            write_beton(_Derived(full, good, STORED_SIDE), full, f"{split} without broken images")
        source_sha256 = sha256(full)
        for resolution in sorted(params.resolutions, reverse=True):
            name = f"{split}_{resolution}"
            path = out / f"{name}.beton"
            if not path.exists():
                write_beton(_Derived(full, np.arange(len(good)), resolution), path, f"{split} {resolution}")
            files[name] = path
            info = check_beton(path)
            card["betons"][name] = {
                "num_samples": info.num_samples,
                "resolution": info.resolution,
                "sha256": sha256(path),
                "source_sha256": source_sha256,  # of the crops that every size is made from
            }
        counts = np.bincount(read_labels(full), minlength=len(folder.classes))
        card["per_class"][split] = {name: int(n) for name, n in zip(folder.classes, counts, strict=True)}
        missing = [name for name, n in card["per_class"][split].items() if n == 0]
        if split == "train" and missing:
            raise BadImagesError(f"{root / split}: classes {missing[:5]} are left without a readable image")
        card["conversions"][split] = dict(sorted(outcome.notes.items()))
        card["rejected"][split] = dict(sorted(outcome.bad.items()))
    return {"files": files, "classes": folder.classes, "data_card": card}
