"""What is in a folder of images, before any work: found by decoding every file once, as preprocessing will."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cdm_kedro.data.crop import BadImage, decode
from cdm_kedro.data.image_folder import FolderError, ImageFolder, Sample
from cdm_kedro.processes.pool import shared_out

if TYPE_CHECKING:
    pass


class Seen(NamedTuple):
    """One file: why it is broken, or its pixels' width and height, format, hash, and what decoding converts."""

    bad: str | None = None
    width: int = 0
    height: int = 0
    format: str = ""
    content: str = ""
    notes: tuple[str, ...] = ()


def look(root: Path, path: str) -> Seen:
    """Decode one file of the folder. ``content`` is the same for images whose pixels are, whatever their format."""
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


def look_at_all(folder: ImageFolder, workers: int = 0) -> dict[str, Seen]:
    """Decode every file of every split, in ``workers`` processes (0: one a core), showing a bar; by path."""
    from tqdm import tqdm

    paths = [sample.path for samples in folder.splits.values() for sample in samples]
    jobs = shared_out(partial(look, folder.root), paths, workers, f"looking at {folder.root}", chunksize=16)
    with closing(jobs) as found:
        return dict(zip(paths, tqdm(found, total=len(paths), desc="look", unit="img"), strict=True))


def hold_out(samples: Sequence[Sample], seen: dict[str, Seen], share: float, seed: int) -> list[str]:
    """Choose a share of every class for validation, at least one image, by seed and content alone.

    Images with the same pixels stay on one side, also where they are in two classes. Broken files stay in training,
    where preprocessing names them.

    Raises:
        FolderError: a class has no image to spare.
    """
    contents: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, label in samples:
        contents[label]["" if seen[path].bad else seen[path].content].append(path)
    held: set[str] = set()
    for label in sorted(contents):
        order = sorted(contents[label].keys() - {""}, key=lambda x: hashlib.sha256(f"{seed} {x}".encode()).digest())
        if len(order) < 2:
            raise FolderError(f"{Path(contents[label].popitem()[1][0]).parent}: has no image to spare for validation")
        wanted = max(1, round(share * sum(len(contents[label][content]) for content in order)))
        for content in order[:-1]:
            if sum(len(contents[label][chosen]) for chosen in held & contents[label].keys()) >= wanted:
                break
            held.add(content)
    return sorted(path for path, _ in samples if seen[path].content in held)
