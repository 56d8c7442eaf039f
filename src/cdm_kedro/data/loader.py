"""Training batches from an FFCV file, in an order that depends on the seed and the step alone."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data.beton import check_beton

_CHUNK_STEPS = 256
_SLOTS = 3


def preload() -> None:
    """Start importing ffcv (about 4 s) in the background."""
    threading.Thread(target=_import_ffcv, daemon=True, name="import-ffcv").start()


def _import_ffcv() -> None:
    """Import ffcv, and keep it from changing how many threads torch uses.

    FFCV would set torch's number of threads, and MKL's, to its own number of workers: when it is imported, when a
    loader is built, and at any moment from the thread that fills a loader's buffers.
    """
    from ffcv.pipeline import compiler

    # FFCV's name for torch, which it uses for nothing else.
    compiler.ch = SimpleNamespace(set_num_threads=lambda count: None)


def sample_positions(num_samples: int, seed: int, first: int, count: int) -> NDArray[np.int64]:
    """(count,) int64 sample numbers at stream positions ``first .. first + count - 1``.

    The stream is one Philox-keyed permutation of the data set after another, so any position can be computed alone.
    """
    epochs = range(first // num_samples, (first + count - 1) // num_samples + 1)
    keys = (np.random.SeedSequence([seed, epoch]) for epoch in epochs)
    orders = [np.random.Generator(np.random.Philox(key)).permutation(num_samples) for key in keys]
    return np.concatenate(orders)[first % num_samples :][:count]


class _PinnedRing:
    """Sends batches to the GPU without waiting for it: through a few pinned buffers, on a stream of their own.

    A buffer is filled again only when its last transfer, ``_SLOTS`` batches ago, has ended.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)
        self._slots: list[tuple[Tensor, Tensor, torch.cuda.Event]] = []
        self._turn = 0

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if len(self._slots) < _SLOTS:
            pinned = (torch.empty_like(x, pin_memory=True) for x in (images, labels))
            self._slots.append((*pinned, torch.cuda.Event()))
        *buffers, sent = self._slots[self._turn % _SLOTS]
        self._turn += 1
        sent.synchronize()  # returns at once before its first use
        for buffer, source in zip(buffers, (images, labels), strict=True):
            buffer.copy_(source)
        consumer = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            out = [buffer.to(self.device, non_blocking=True) for buffer in buffers]
            sent.record(self.stream)
        consumer.wait_event(sent)
        for tensor in out:
            tensor.record_stream(consumer)
        return out[0], out[1]


class BetonLoader:
    """Endless iterator of training batches.

    All ranks together get, in step n, the samples at stream positions n * batch_size onward. Neither the number of
    ranks nor a resumed run changes them. The pixels are as stored: the device flips them and converts them to float.

    On a CPU a batch lies in a buffer that FFCV fills again once the next batch is asked for; clone what you keep. On a
    GPU a batch stays as it is.

    ``batch_size`` counts the images of all ranks, ``start_step`` is the first step to deliver, and ``workers`` are
    FFCV's reading threads. Raises CdmError if the file is not sound. Raises ValueError if there are fewer images
    than a batch, or ranks that do not divide it.
    """

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
        num_samples = check_beton(path).num_samples
        if num_samples < batch_size:
            raise ValueError(
                f"{path} holds {num_samples} images, fewer than training.batch_size {batch_size}; "
                "lower the batch size or add images"
            )
        if batch_size % world_size:
            raise ValueError(f"training.batch_size {batch_size} is not divisible by {world_size} processes")
        device, local = torch.device(device), batch_size // world_size
        self._ring = _PinnedRing(device) if device.type == "cuda" else None
        threads = torch.get_num_threads()
        _import_ffcv()
        torch.set_num_threads(threads)  # the import has set it to one
        from ffcv.fields.basics import IntDecoder
        from ffcv.fields.rgb_image import SimpleRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import Squeeze, ToTensor

        self._loader = Loader(
            str(path),
            batch_size=local,
            num_workers=workers,
            os_cache=True,
            order=OrderOption.SEQUENTIAL,
            drop_last=True,
            pipelines={"image": [SimpleRGBImageDecoder(), ToTensor()], "label": [IntDecoder(), ToTensor(), Squeeze(1)]},
        )

        def sample_order(chunk: int) -> NDArray[np.int64]:
            """This rank's samples in one pass of FFCV's, which is here so many steps."""
            first = (start_step + chunk * _CHUNK_STEPS) * batch_size
            stream = sample_positions(num_samples, seed, first, _CHUNK_STEPS * batch_size)
            return stream.reshape(_CHUNK_STEPS, world_size, local)[:, rank].flatten()

        # FFCV refuses orders of other classes in its constructor but takes any object here.
        self._loader.traversal_order = SimpleNamespace(sample_order=sample_order)
        self._loader.first_traversal_order = sample_order(0)
        self._iterator: Any = None

    def __iter__(self) -> "BetonLoader":
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Return (b, 3, H, W) uint8 images, in channels_last memory, and (b,) int64 labels, on the device."""
        while self._iterator is None or (batch := next(self._iterator, None)) is None:
            self._iterator = iter(self._loader)
        images, labels = batch
        if self._ring is not None:
            images, labels = self._ring(images, labels)
        return images.permute(0, 3, 1, 2), labels.long()

    def close(self) -> None:
        """Stop FFCV's thread; safe to call twice."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator.join(timeout=10)
            self._iterator = None
