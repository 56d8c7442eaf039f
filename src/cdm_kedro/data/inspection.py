"""What is in a folder of images, before any work: every file is decoded once, as preprocessing will decode it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from cdm_kedro.data.crop import BadImage, decode
from cdm_kedro.data.image_folder import FolderError, ImageFolder, Sample
from cdm_kedro.params.data import CROP_SIDE
from cdm_kedro.processes.pool import shared_out

THIN = 100
"""Training images of a class below which a model rather repeats them than learns what they have in common."""
_SHOWN = 10  # classes or files in a line or table of the report


class Seen(NamedTuple):
    """One file: why it is broken, or its width and height in pixels, its format, and what decoding converts.

    ``content`` is a hash of the decoded pixels: the same for a PNG and a lossless WebP of one picture.
    """

    bad: str | None = None
    width: int = 0
    height: int = 0
    format: str = ""
    content: str = ""
    notes: tuple[str, ...] = ()


def _look(root: Path, path: str) -> Seen:
    from PIL import Image

    try:
        image = decode(root / path, apply_exif_rotation=True)
        with Image.open(root / path) as file:
            kind = file.format or "unknown"
    except BadImage as error:
        return Seen(bad=str(error))
    height, width = image.pixels.shape[:2]
    content = hashlib.sha256(f"{width} {height} ".encode() + image.pixels.tobytes()).hexdigest()
    return Seen(None, width, height, kind, content, tuple(image.notes))


def look(folder: ImageFolder, workers: int = 0) -> dict[str, Seen]:
    """Decode every file of every split, in ``workers`` processes (0: one a core), with a progress bar; by path."""
    from tqdm import tqdm

    paths = [sample.path for samples in folder.splits.values() for sample in samples]
    jobs = shared_out(partial(_look, folder.root), paths, workers, f"looking at {folder.root}", chunksize=16)
    with closing(jobs) as found:
        return dict(zip(paths, tqdm(found, total=len(paths), desc="look", unit="img"), strict=True))


def hold_out(samples: Sequence[Sample], seen: dict[str, Seen], share: float, seed: int) -> list[str]:
    """Choose a share of every class for validation, at least one image; seed and pixels alone decide.

    Images with the same pixels stay together, also where they are in two classes. Broken files stay in training, and so
    do names that a list with one path a line cannot hold. Returns paths, sorted. Raises FolderError if a class has no
    image to spare.
    """
    held: set[str] = set()
    for label in sorted({sample.label for sample in samples}):
        mine = [path for path, of in samples if of == label]
        count = Counter(seen[path].content for path in mine if not seen[path].bad and "\n" not in path)
        if len(count) < 2:
            raise FolderError(f"{Path(mine[0]).parent}: has no image to spare for validation; add some or remove it")
        order = sorted(count, key=lambda content: hashlib.sha256(f"{seed} {content}".encode()).digest())
        left = max(1, round(share * count.total())) - sum(count[content] for content in held & count.keys())
        for content in order[:-1]:
            if left > 0 and content not in held:
                held.add(content)
                left -= count[content]
    return sorted(path for path, _ in samples if seen[path].content in held and "\n" not in path)


def report(folder: ImageFolder, seen: dict[str, Seen]) -> Iterator[str]:
    """What is in the folder, line by line: classes, sizes, formats, and what is wrong or strange."""
    counts = {split: Counter(sample.label for sample in samples) for split, samples in folder.splits.items()}
    total = " and ".join(f"{len(samples)} ({split})" for split, samples in folder.splits.items())
    yield f"{folder.root}: {total} images in {len(folder.classes)} classes".replace(" (.)", "")
    first = next(iter(counts.values()))
    order = sorted(range(len(folder.classes)), key=lambda label: first[label])
    for label in order[: 2 * _SHOWN]:
        yield f"  {folder.classes[label]:30}" + "".join(f"{count[label]:>8}" for count in counts.values())
    if len(order) > 2 * _SHOWN:
        yield f"  (the {2 * _SHOWN} classes with the fewest images)"
    good = {path: image for path, image in seen.items() if image.bad is None}
    if good:
        sides = [min(image.width, image.height) for image in good.values()]
        yield f"short side: {min(sides)} to {max(sides)} pixels, median {median(sides):g}"
        yield f"formats: {_counted(image.format for image in good.values())}"
        notes = _counted(note for image in good.values() for note in image.notes) or "none"
        yield f"converted when read (alpha is laid over white): {notes}"
        small = sum(side < CROP_SIDE for side in sides)
        if small:
            yield f"warning: {small} images have a short side below {CROP_SIDE} pixels and are enlarged"
    yield from folder.left_out_lines()
    thin = [folder.classes[label] for label in order if first[label] < THIN]
    if thin:
        yield f"warning: fewer than {THIN} images: {_some(thin)}"
    bad = [f"{path} ({image.bad})" for path, image in seen.items() if image.bad]
    yield f"warning: {len(bad)} broken files: {_some(bad)}" if bad else "broken files: none"
    same: dict[str, list[str]] = defaultdict(list)
    for path, image in good.items():
        same[image.content].append(path)
    repeated = [paths for paths in same.values() if len(paths) > 1]
    if len(folder.splits) > 1:
        split = {sample.path: name for name, samples in folder.splits.items() for sample in samples}
        both = [" = ".join(paths) for paths in repeated if len({split[path] for path in paths}) > 1]
        yield f"warning: {len(both)} pictures in train and val: {_some(both)}" if both else "in train and val: none"
    if repeated:
        yield f"warning: {len(repeated)} pictures are there more than once: {_some([' = '.join(x) for x in repeated])}"


def _counted(values: Iterator[str]) -> str:
    return ", ".join(f"{value} {count}" for value, count in Counter(values).most_common())


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
