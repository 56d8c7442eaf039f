"""Writing FFCV files of raw square images: whole or not at all, in any order, from any number of processes.

Every image has its place before the first is written, so the bytes depend on the images and labels alone. They are
those of FFCV's ``DatasetWriter`` with one worker, which tests compare.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cdm_kedro.data.beton import FIELD, HEADER, PAGE, PLACE, RAW, SAMPLE, TABLE, VERSION, check_beton, read_labels
from cdm_kedro.files.atomic import written_whole
from cdm_kedro.files.space import disk_full_explained, reserve

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INT, _RGB_IMAGE = 1, 2


@dataclass(frozen=True)
class BetonLayout:
    """Where everything lies in a file of ``num_samples`` images of ``side`` pixels."""

    num_samples: int
    side: int

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        return self.side * self.side * 3

    @cached_property
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


def write_at(descriptor: int, data: Any, offset: int) -> None:
    """Write all of the bytes of a buffer, which one call to the system need not do.

    Raises:
        OSError: for example, no room.
    """
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


@contextmanager
def new_beton(path: Path, labels: NDArray[np.int64], side: int) -> Iterator[tuple[Path, BetonLayout]]:
    """Make a file whose images the block writes to their places; it takes its name after the block.

    Args:
        path: to write.
        labels: (N,) of the images.
        side: of the images, in pixels.

    Yields:
        The unfinished file, its room on the disk taken, and its layout.

    Raises:
        OSError: for example, no room.
    """
    layout = BetonLayout(len(labels), side)
    with written_whole(path) as part:
        with part.open("wb") as file:
            reserve(file.fileno(), layout.size)
        yield part, layout
        with part.open("r+b") as file:
            write_at(file.fileno(), layout.tail(), layout.places)
            write_at(file.fileno(), layout.head(labels), 0)
        check_beton(part)


class ImageSource(Protocol):
    """Images (side, side, 3) uint8 with labels, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]: ...


def write_beton(source: ImageSource, path: Path, description: str) -> None:
    """Write images one after another.

    Args:
        source: of at least one image.
        path: to write.
        description: for the progress bar.

    Raises:
        DiskFullError: no room for the file.
    """
    from tqdm import tqdm

    labels, side = np.zeros(len(source), np.int64), len(source[0][0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        disk_full_explained(path.parent, BetonLayout(len(labels), side).size),
        new_beton(path, labels, side) as (part, layout),
        part.open("r+b") as file,
    ):
        for index in tqdm(range(len(source)), desc=description, unit="img"):
            image, labels[index] = source[index]  # labels are written after the block
            write_at(file.fileno(), np.ascontiguousarray(image), layout.pointer(index))


def keep_images(path: Path, kept: NDArray[np.int64]) -> None:
    """Write a finished file anew with only the images of these numbers, in their order.

    Raises:
        OSError: no room for both for a while; the file is then as it was.
    """
    labels, old = read_labels(path), BetonLayout((info := check_beton(path)).num_samples, info.resolution)
    with new_beton(path, labels[kept], old.side) as (part, new), part.open("r+b") as target, path.open("rb") as source:
        for index, number in enumerate(kept.tolist()):
            image = os.pread(source.fileno(), new.image_bytes, old.pointer(number))
            write_at(target.fileno(), image, new.pointer(index))
