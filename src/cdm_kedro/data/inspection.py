"""What is in a folder of images, before any work: every file is decoded once, as preprocessing will decode it."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from cdm_kedro.data.crop import decode
from cdm_kedro.data.image_folder import ImageFolder, Sample
from cdm_kedro.errors import CdmError
from cdm_kedro.params.data import CROP_SIDE
from cdm_kedro.processes.pool import shared_out

_THIN = 100  # training images of a class, below which a model rather repeats than learns them
_SHOWN = 10  # classes or files in a line or table of the report


class Seen(NamedTuple):
    """One file: why it is broken, or its width, height (pixels), format, hash of decoded pixels, and conversions."""

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
    except Exception as error:  # all that a file can cause
        return Seen(bad=str(error) or type(error).__name__)
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
    do names that a list with one path a line cannot hold. Returns paths, sorted. Raises CdmError if a class has no
    image to spare.
    """
    held: set[str] = set()
    for _, group in groupby(sorted(samples, key=itemgetter(1)), key=itemgetter(1)):
        mine = [path for path, _ in group]
        count = Counter(seen[path].content for path in mine if not seen[path].bad and "\n" not in path)
        if len(count) < 2:
            raise CdmError(f"{Path(mine[0]).parent}: has no image to spare for validation; add some or remove it")
        order = sorted(count, key=lambda content: hashlib.sha256(f"{seed} {content}".encode()).digest())
        for content in order[:-1]:
            if sum(count[one] for one in held & count.keys()) < max(1, round(share * count.total())):
                held.add(content)
    return sorted(path for path, _ in samples if seen[path].content in held and "\n" not in path)


def thin(folder: ImageFolder) -> Iterator[str]:
    """A warning of classes with few training images, if there are any."""
    count = Counter(folder.classes[sample.label] for sample in next(iter(folder.splits.values())))
    if names := [f"{name} ({count[name]})" for name in sorted(count, key=count.__getitem__) if count[name] < _THIN]:
        yield f"warning: {len(names)} classes have fewer than {_THIN} images: {_some(names)}"


def small(folder: ImageFolder) -> Iterator[str]:
    """A warning of training images that preprocessing enlarges, if there are any, by the headers of at most 1000."""
    from PIL import Image

    count, paths = 0, [sample.path for sample in next(iter(folder.splits.values()))]
    for path in (some := paths[:: 1 + len(paths) // 1000]):
        with suppress(OSError), Image.open(folder.root / path) as file:  # preprocessing names a broken one
            count += min(file.size) < CROP_SIDE
    if count:
        yield f"warning: {count} of {len(some)} images have a short side below {CROP_SIDE} pixels and are enlarged"


def report(folder: ImageFolder, seen: dict[str, Seen]) -> Iterator[str]:
    """What is in the folder, line by line: classes, sizes, formats, and what is wrong or strange."""
    import pandas as pd

    rows = [(split, folder.classes[s.label], s.path, *seen[s.path]) for split, x in folder.splits.items() for s in x]
    files = pd.DataFrame(rows, columns=["split", "class", "path", *Seen._fields])
    counts = files.pivot_table(index="class", columns="split", values="path", aggfunc="count", fill_value=0)
    yield f"{folder.root}: {len(files)} images in {len(counts)} classes"
    yield counts.sort_values(list(counts), ignore_index=False).to_string(max_rows=2 * _SHOWN)
    good = files[files["bad"].isna()]
    sides = good[["width", "height"]].min(axis=1)
    yield f"short side: {sides.min()} to {sides.max()} pixels, median {sides.median():g}"
    yield f"formats: {good['format'].value_counts().to_dict()}"
    yield f"conversions (alpha is laid over white): {good['notes'].explode().value_counts().to_dict() or 'none'}"
    if small := int((sides < CROP_SIDE).sum()):
        yield f"warning: {small} images have a short side below {CROP_SIDE} pixels and are enlarged"
    yield from folder.left_out_lines()
    yield from thin(folder)
    bad = files[files["bad"].notna()]
    yield f"broken files: {_some(list(bad['path'] + ' (' + bad['bad'] + ')')) or 'none'}"
    same = good[good.duplicated("content", keep=False)].groupby("content")
    both = [" = ".join(part["path"]) for _, part in same if part["split"].nunique() > 1]
    yield f"in train and val: {_some(both) or 'none'}"
    yield f"there more than once: {_some([' = '.join(part['path']) for _, part in same]) or 'none'}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
