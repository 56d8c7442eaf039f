"""Writing FFCV files of raw square images: whole or not at all, with reproducible bytes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cdm_kedro.data.beton import check_beton
from cdm_kedro.errors import CdmError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WriterDied(CdmError, RuntimeError):
    """FFCV's writing process ended before its work was done; it would be waited for without end."""


@contextmanager
def _watched_writer(description: str) -> Iterator[None]:
    """Within the block, the bars of FFCV's writer are called ``description``.

    Raises:
        WriterDied: its process is gone while samples are missing.
    """
    import ffcv.writer
    from tqdm import tqdm

    idle = 0

    def wait(seconds: float) -> None:
        nonlocal idle
        idle = 0 if multiprocessing.active_children() else idle + 1
        if idle > 20:  # two seconds: it may have finished between two looks
            raise WriterDied(f"{description}: FFCV's writing process died (killed, or out of memory?)")
        time.sleep(seconds)

    kept = ffcv.writer.tqdm, ffcv.writer.sleep
    ffcv.writer.tqdm, ffcv.writer.sleep = partial(tqdm, desc=description, unit="img"), wait
    try:
        yield
    finally:
        ffcv.writer.tqdm, ffcv.writer.sleep = kept


class ImageSource(Protocol):
    """Random access to images; a call must not raise, because FFCV's writer would hang."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]: ...


def write_beton(source: ImageSource, path: Path, description: str) -> None:
    """Write a raw FFCV file in the source's order.

    The file appears under its name only when it is complete. One writing process keeps the bytes reproducible;
    the source may decode in parallel.
    """
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with _watched_writer(description):
            writer = DatasetWriter(
                str(part), {"image": RGBImageField(write_mode="raw"), "label": IntField()}, num_workers=1
            )
            writer.from_indexed_dataset(source, chunksize=64)
        check_beton(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
