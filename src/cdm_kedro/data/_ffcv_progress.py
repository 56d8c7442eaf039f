"""FFCV's writer draws its own nameless progress bar; this gives it a name and a unit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial


@contextmanager
def progress_named(description: str) -> Iterator[None]:
    """Within the block, bars that FFCV's writer makes are called ``description``."""
    import ffcv.writer
    from tqdm import tqdm

    original = ffcv.writer.tqdm
    ffcv.writer.tqdm = partial(tqdm, desc=description, unit="img")
    try:
        yield
    finally:
        ffcv.writer.tqdm = original
