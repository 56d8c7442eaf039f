"""An image folder to FFCV files at every resolution: each image is decoded once and written to all of them at once."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.data.beton_writer import BetonLayout, keep_images, new_beton, write_at
from cdm_kedro.data.crop import BadImage, crops, decode
from cdm_kedro.data.image_folder import ImageFolder, Sample, scan
from cdm_kedro.errors import CdmError
from cdm_kedro.files.atomic import write_text
from cdm_kedro.files.hashes import sha256
from cdm_kedro.files.places import disk_full_explained
from cdm_kedro.params.data import CROP_SIDE, PreprocessParams
from cdm_kedro.processes.pool import shared_out

log = logging.getLogger(__name__)
_JOB = 32  # images that a process takes at once
_RESIZE = {
    "area": "cv2 INTER_AREA, lower sizes the rounded mean over its blocks; below 256 INTER_AREA down, INTER_CUBIC up",
    "bilinear": "Pillow's bilinear from the square to each size, as BigGAN-PyTorch",
    "guided_diffusion": "as guided-diffusion, each size from the image",
}


class _Job(NamedTuple):
    """Images that lie side by side in a split's unfinished files: their first number there, paths, files by side."""

    first: int
    paths: list[str]
    files: dict[int, tuple[Path, BetonLayout]]


class _Found(NamedTuple):
    """What became of images: reasons of the broken ones by path, and how often each conversion was made."""

    bad: dict[str, str]
    notes: Counter[str]


def _convert(root: Path, params: PreprocessParams, job: _Job) -> _Found:
    """Decode, crop, shrink and write images; a broken one is reported and leaves zeros in its place."""
    import cv2

    cv2.setNumThreads(1)
    found = _Found({}, Counter())
    with ExitStack() as stack:
        targets = [(side, stack.enter_context(path.open("r+b")), layout) for side, (path, layout) in job.files.items()]
        for index, path in enumerate(job.paths, job.first):
            try:
                image = decode(root / path, params.apply_exif_rotation)
                sizes = crops(image, params.resize, list(job.files))
            except Exception as error:  # all that a file can cause; the parent decides
                found.bad[path] = str(error) if isinstance(error, BadImage) else f"{type(error).__name__}: {error}"
                continue
            found.notes.update(image.notes)
            for side, file, layout in targets:
                write_at(file, sizes[side], layout.pointer(index))
    return found


class _HashAlong:
    """SHA-256 of a file while it is written, so that it need not be read from the disk once more."""

    def __init__(self, path: Path, layout: BetonLayout, labels: NDArray[np.int64]) -> None:
        self.path, self.layout, head = path, layout, layout.head(labels)
        self.digest, self.position = hashlib.sha256(head), len(head)

    def upto(self, images: int) -> None:
        """Take in the first so many images, which are written."""
        last = images == self.layout.num_samples
        end = self.layout.places if last else self.layout.pointer(images)
        self.digest.update(np.fromfile(self.path, np.uint8, end - self.position, offset=self.position).data)
        self.position = end
        if last:
            self.digest.update(self.layout.tail())


class _Split:
    """One split's files from the first image to their hashes.

    A split that an earlier, interrupted call finished has its record beside the files, and is kept.
    """

    def __init__(self, folder: ImageFolder, name: str, out: Path, params: PreprocessParams) -> None:
        listed = folder.splits[name]
        order = np.random.Generator(np.random.Philox(key=params.seed)).permutation(len(listed))
        self.samples: list[Sample] = [listed[i] for i in order]
        self.labels = np.array([sample.label for sample in self.samples], np.int64)
        self.name, self.params, self.root = name, params, folder.root / name
        # The largest crops are always stored: the data card has their hash, by which models know the same images.
        sides = sorted({CROP_SIDE, *params.resolutions}, reverse=True)
        self.files = {side: out / f"{name}_{side}.beton" for side in sides}
        self.record = out / f"{name}.json"
        self.found, self.hashes = _Found({}, Counter()), dict[int, str]()
        self.open_files = ExitStack()
        self.kept = self.record.exists() and all(file.exists() for file in self.files.values())
        if self.kept:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            self.found = _Found(record["bad"], Counter(record["notes"]))
            self.hashes = {side: record["sha256"][str(side)] for side in sides}

    @cached_property
    def good(self) -> NDArray[np.int64]:
        """Numbers of the images that are not broken."""
        return np.array([i for i, s in enumerate(self.samples) if s.path not in self.found.bad], np.int64)

    def begin(self) -> list[_Job]:
        """Take the room on the disk; returns what is to be done."""
        files = {s: self.open_files.enter_context(new_beton(path, self.labels, s)) for s, path in self.files.items()}
        self.hashed = {side: _HashAlong(*file, self.labels) for side, file in files.items()}
        paths = [sample.path for sample in self.samples]
        return [_Job(at, paths[at : at + _JOB], files) for at in range(0, len(paths), _JOB)]

    def finish(self, results: Iterator[_Found]) -> None:
        """Follow the jobs to their end; then the files take their names, unless broken images forbid it."""
        from tqdm import tqdm

        count = len(self.samples)
        with tqdm(total=count, desc=self.name, unit="img") as bar:
            for end, found in zip([*range(_JOB, count, _JOB), count], results, strict=False):
                self.found.bad.update(found.bad)
                self.found.notes.update(found.notes)
                bar.update(end - bar.n)
                for hashed in self.hashed.values() if not self.found.bad else ():
                    hashed.upto(end)
        if self.found.bad and self.params.on_bad_image == "fail":
            return  # the other split may have broken images too, and the message lists all
        if len(self.good) == 0:
            raise CdmError(f"{self.root}: every image is broken")
        self.open_files.close()
        if self.found.bad:
            log.warning("%s: leaving out %d broken image(s)", self.name, len(self.found.bad))
            for path in self.files.values():
                keep_images(path, self.good)
            self.hashes = {side: sha256(path) for side, path in self.files.items()}
        else:
            self.hashes = {side: hashed.digest.hexdigest() for side, hashed in self.hashed.items()}
        write_text(self.record, json.dumps({**self.found._asdict(), "sha256": self.hashes}))


def _source_hash(folder: ImageFolder) -> str:
    paths = (sample.path for samples in folder.splits.values() for sample in samples)
    listing = "".join(f"{path}\0{(folder.root / path).stat().st_size}\n" for path in paths)
    return hashlib.sha256(os.fsencode(listing)).hexdigest()


def preprocess_folder(root: Path, out: Path, params: PreprocessParams) -> dict[str, Any]:
    """Write ``{train,val}_<resolution>.beton`` for every one of ``params.resolutions``.

    The files' bytes depend on the images, in ImageNet layout, and the parameters alone, not on the number of processes.
    ``out`` exists, and a split there that the same call, interrupted, had finished is kept. Returns ``files`` (name to
    path), ``classes`` and ``data_card``. Raises CdmError if the layout is wrong, images are broken under
    ``on_bad_image: fail``, a class is left without images, a process was killed, or there is no room for the files
    (nothing was decoded then, unless something else filled the disk).
    """
    folder = scan(root, params.val_files)
    for line in folder.left_out_lines():
        log.warning("%s: %s", root, line)
    source_hash = _source_hash(folder)
    splits = [_Split(folder, name, out, params) for name in folder.splits]
    new = [split for split in splits if not split.kept]
    needed = sum(BetonLayout(len(split.samples), side).size for split in new for side in split.files)
    with disk_full_explained(out, needed), ExitStack() as unfinished:
        jobs: list[_Job] = []
        for split in new:
            unfinished.enter_context(split.open_files)
            jobs += split.begin()
        convert = partial(_convert, root, params)
        with closing(shared_out(convert, jobs, params.workers, f"preprocessing {root}")) as results:
            for split in new:
                split.finish(results)
        if params.on_bad_image == "fail":
            _refuse_bad(root, splits)
    card = _data_card(folder, source_hash, splits, params)
    files = {f"{split.name}_{side}": path for split in splits for side, path in split.files.items()}
    return {"files": {name: files[name] for name in card["betons"]}, "classes": folder.classes, "data_card": card}


def _refuse_bad(root: Path, splits: list[_Split]) -> None:
    failures = {path: reason for split in splits for path, reason in split.found.bad.items()}
    if not failures:
        return
    for split in splits:
        for path in (split.record, *split.files.values()):
            path.unlink(missing_ok=True)
    raise CdmError(
        f"{len(failures)} broken image(s) in {root}:\n"
        + "\n".join(f"  {path}: {reason}" for path, reason in sorted(failures.items()))
        + "\nRepair or remove them, or set preprocess.on_bad_image: skip."
    )


def _data_card(folder: ImageFolder, source_hash: str, splits: list[_Split], params: PreprocessParams) -> dict[str, Any]:
    card: dict[str, Any] = {
        "classes": len(folder.classes),
        "source": {
            "listing_sha256": source_hash,
            "images": {split: len(samples) for split, samples in folder.splits.items()},
            **({"left_out": folder.left_out} if folder.left_out else {}),
        },
        "crop": {
            "side": CROP_SIDE,
            "square": "centre of the short side",
            "resize": _RESIZE[params.resize],
            "apply_exif_rotation": params.apply_exif_rotation,
        },
        "betons": {},
        "conversions": {split.name: dict(sorted(split.found.notes.items())) for split in splits},
        "per_class": {},
        "rejected": {split.name: dict(sorted(split.found.bad.items())) for split in splits},
    }
    for split in splits:
        for resolution in sorted(params.resolutions, reverse=True):
            card["betons"][f"{split.name}_{resolution}"] = {
                "num_samples": len(split.good),
                "resolution": resolution,
                "sha256": split.hashes[resolution],
                "source_sha256": split.hashes[CROP_SIDE],  # of the largest crops: equal where the images are
            }
        counts = np.bincount(split.labels[split.good], minlength=len(folder.classes)).tolist()
        per_class = card["per_class"][split.name] = dict(zip(folder.classes, counts, strict=True))
        missing = [name for name, n in per_class.items() if n == 0]
        if split.name == "train" and missing:
            raise CdmError(f"{split.root}: classes {missing[:5]} are left without a readable image")
    return card
