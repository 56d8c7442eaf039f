"""Training batches without FFCV, for machines that have little beside PyTorch: the same batches, read with NumPy.

PYTHONPATH=src:benchmarks python -m plain_loader job.json     # the training process, without FFCV if need be
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data import beton, loader
from cdm_kedro.data.loader import sample_positions

_AHEAD = 3  # batches that are read before they are asked for


class PlainLoader:
    """Endless iterator of training batches with :class:`cdm_kedro.data.loader.BetonLoader`'s arguments and order."""

    def __init__(
        self,
        path: Path,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 1,
    ) -> None:
        (self.count, self.side), self.table = beton._read_table(path)
        self.pixels = np.memmap(path, np.uint8, mode="r")
        self.batch_size, self.seed, self.step = batch_size, seed, start_step
        self.rows = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        device = torch.device(device)
        self.ring = loader._PinnedRing(device) if device.type == "cuda" else None
        self.pool = ThreadPoolExecutor(workers)
        self.ahead = deque(self._ask() for _ in range(_AHEAD))

    def _ask(self) -> object:
        self.step += 1
        return self.pool.submit(self._read, self.step - 1)

    def _read(self, step: int) -> tuple[Tensor, Tensor]:
        wanted = sample_positions(self.count, self.seed, step * self.batch_size, self.batch_size)[self.rows]
        images = np.empty((len(wanted), self.side, self.side, 3), np.uint8)
        pointers: NDArray[np.uint64] = self.table["image"]["data_ptr"][wanted]
        for image, pointer in zip(images, pointers.tolist(), strict=True):
            image.reshape(-1)[:] = self.pixels[pointer : pointer + image.size]
        return torch.from_numpy(images), torch.from_numpy(self.table["label"][wanted].astype(np.int64))

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Return (b, 3, H, W) uint8 images, in channels_last memory, and (b,) int64 labels, on the device."""
        self.ahead.append(self._ask())
        images, labels = self.ahead.popleft().result()  # type: ignore[attr-defined]
        if self.ring is not None:
            images, labels = self.ring(images, labels)
        return images.permute(0, 3, 1, 2), labels

    def close(self) -> None:
        """Stop reading ahead."""
        self.pool.shutdown(cancel_futures=True)


def loader_class() -> type:
    """The project's loader where FFCV can be imported, else the one above."""
    return loader.BetonLoader if find_spec("ffcv") else PlainLoader


def train_without_ffcv() -> None:
    """Have trainings of this process use :func:`loader_class`."""
    from cdm_kedro.training import loop

    loop.BetonLoader = loader_class()  # type: ignore[misc]
    if not find_spec("ffcv"):
        loader.preload = lambda: None


if __name__ == "__main__":
    from cdm_kedro.processes.worker import run
    from cdm_kedro.training.worker import main

    train_without_ffcv()
    run(main)
