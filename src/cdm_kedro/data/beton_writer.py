"""Writing FFCV files of raw square images: whole or not at all, in any order, from any number of processes.

Every image has its place before the first is written, so the bytes depend on the images and labels alone. They are
those of FFCV's ``DatasetWriter`` with one worker, which tests compare.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdm_kedro.data.beton import FIELD, HEADER, PAGE, PLACE, RAW, SAMPLE, TABLE, VERSION, check_beton, read_labels
from cdm_kedro.files.atomic import written_whole
from cdm_kedro.files.places import disk_full_explained

_INT, _RGB_IMAGE = 1, 2


class BetonLayout(NamedTuple):
    """Where everything lies in a file of ``num_samples`` images of ``side`` pixels."""

    num_samples: int
    side: int

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return self.side * self.side * 3

    @property
    def pixels(self) -> int:
        """Where the first page begins: after the table of samples, at a multiple of the page's size."""
        return -(-(TABLE + self.num_samples * SAMPLE.itemsize) // PAGE) * PAGE

    @property
    def places(self) -> int:
        """Where the last page ends and the table of places begins."""
        return self.pixels - (-self.num_samples // (PAGE // self.image_bytes)) * PAGE

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.places + self.num_samples * PLACE.itemsize

    def pointer(self, index: Any) -> Any:
        """Where an image lies, given its number or an array of numbers."""
        page, slot = divmod(index, PAGE // self.image_bytes)
        return self.pixels + page * PAGE + slot * self.image_bytes

    def head(self, labels: NDArray[np.int64]) -> bytes:
        """All that comes before the table of samples ends."""
        header = np.array((VERSION, 2, PAGE, self.num_samples, self.places), HEADER)
        fields = np.zeros(2, FIELD)
        fields["type_id"], fields["name"] = (_RGB_IMAGE, _INT), (b"image", b"label")
        samples = np.zeros(self.num_samples, SAMPLE)
        samples["image"]["mode"], samples["label"] = RAW, labels
        samples["image"]["width"] = samples["image"]["height"] = self.side
        samples["image"]["data_ptr"] = self.pointer(np.arange(self.num_samples))
        return header.tobytes() + fields.tobytes() + samples.tobytes()

    def tail(self) -> bytes:
        """The table of places."""
        numbers = np.arange(self.num_samples)
        places = np.zeros(self.num_samples, PLACE)
        places["sample_id"], places["ptr"], places["size"] = numbers, self.pointer(numbers), self.image_bytes
        return places.tobytes()


def write_at(file: BinaryIO, data: Any, offset: int) -> None:
    """Write the bytes of a buffer to their place. Raises OSError, for example where there is no room."""
    file.seek(offset)
    file.write(data)


@contextmanager
def new_beton(path: Path, labels: NDArray[np.int64], side: int) -> Iterator[tuple[Path, BetonLayout]]:
    """Make a file of (side, side, 3) images with (N,) labels, which the block writes to their places.

    Yields the unfinished file, its room on the disk taken, and its layout. It takes its name after the block. Raises
    OSError, for example where there is no room.
    """
    layout = BetonLayout(len(labels), side)
    with written_whole(path) as part:
        with part.open("wb") as file:
            file.truncate(layout.size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, layout.size)
        yield part, layout
        with part.open("r+b") as file:
            write_at(file, layout.tail(), layout.places)
            write_at(file, layout.head(labels), 0)
        check_beton(part)


def write_beton(path: Path, labels: NDArray[np.int64], side: int, images: Iterable[NDArray[np.uint8]]) -> None:
    """Write (side, side, 3) images one after another, as many as there are labels.

    Raises CdmError if there is no room for the file.
    """
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        disk_full_explained(path.parent, BetonLayout(len(labels), side).size),
        new_beton(path, labels, side) as (part, layout),
        part.open("r+b") as file,
    ):
        for index, image in zip(tqdm(range(len(labels)), desc=f"write {path.name}", unit="img"), images, strict=True):
            write_at(file, np.ascontiguousarray(image), layout.pointer(index))


def keep_images(path: Path, kept: NDArray[np.int64]) -> None:
    """Write a finished file anew with only the images of these numbers, in their order.

    Raises OSError if there is no room for both for a while; the file is then as it was.
    """
    labels, old = read_labels(path), BetonLayout(*check_beton(path))
    with new_beton(path, labels[kept], old.side) as (part, new), part.open("r+b") as target, path.open("rb") as source:
        for index, number in enumerate(kept.tolist()):
            image = os.pread(source.fileno(), new.image_bytes, old.pointer(number))
            write_at(target, image, new.pointer(index))
