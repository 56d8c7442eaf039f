"""Low-resolution images that the cascade does not sample itself: real ones, and samples that an earlier job stored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data.beton import read_beton, read_labels
from cdm_kedro.files.npz import map_npz_array

BATCH_FILE = "batch_size.json"  # file in a sampling job's folder that holds the number of samples of a shard


class RealImages:
    """Real images in a fixed class-balanced order, for conditioning on ground truth (Table 3b).

    Sample i of class c takes image ``i // num_classes`` of that class in the file's order. It starts over when the
    class has fewer images. Raises ValueError if a class has no images.
    """

    def __init__(self, beton: Path, num_classes: int) -> None:
        labels = read_labels(beton)
        self.beton, self.num_classes = beton, num_classes
        self.of_class = [np.flatnonzero(labels == c) for c in range(num_classes)]
        empty = [c for c, images in enumerate(self.of_class) if len(images) == 0]
        if empty:
            raise ValueError(f"{beton}: classes {empty[:5]} have no images; they cannot condition on ground truth")

    def images(self, labels: Tensor, indices: Tensor) -> Tensor:
        """Read (B, 3, h, w) uint8 images for (B,) classes and (B,) sample numbers."""
        wanted = zip((self.of_class[label] for label in labels.tolist()), indices.tolist(), strict=True)
        rows = [int(own[index // self.num_classes % len(own)]) for own, index in wanted]
        return torch.from_numpy(read_beton(self.beton, rows)[0]).permute(0, 3, 1, 2)


class StoredSamples:
    """A model's samples and states z_s in the shards of a finished sampling job, or its samples alone in an npz."""

    def __init__(self, model: str, folder: Path) -> None:
        self.model, self.folder = model, folder
        self._merged = map_npz_array(folder, "arr_0") if folder.is_file() else None
        if self._merged is not None:
            return
        self.batch_size = read_batch_size(folder)
        self._name = ""
        self._shard: dict[str, NDArray[Any]] = {}

    def _rows(self, key: str, indices: Tensor) -> Tensor:
        parts = []
        for index in indices.tolist():
            name = shard_name(index // self.batch_size * self.batch_size)
            if name != self._name:
                with np.load(self.folder / "shards" / name, allow_pickle=False) as file:
                    self._name, self._shard = name, {k: file[k] for k in file.files}
            parts.append(self._shard[key][index % self.batch_size])
        return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2)

    def images(self, labels: Tensor, indices: Tensor) -> Tensor:
        """Read (B, 3, h, w) uint8 finished samples for (B,) sample numbers; their classes are not needed."""
        if self._merged is not None:
            return torch.from_numpy(self._merged[indices.cpu().numpy()]).permute(0, 3, 1, 2)
        return self._rows(self.model, indices)

    def states(self, s: int, indices: Tensor) -> Tensor:
        """Read (B, 3, h, w) float32 states z_s for (B,) sample numbers."""
        return self._rows(state_key(self.model, s), indices)


def read_batch_size(folder: Path) -> int:
    """Number of samples of each shard of a job but the last."""
    return int(json.loads((folder / BATCH_FILE).read_text(encoding="utf-8")))


def shard_name(start: int) -> str:
    """Name the file of the samples from number ``start`` on."""
    return f"{start:08d}.npz"


def state_key(model: str, s: int) -> str:
    """Name a model's states z_s inside a shard."""
    return f"{model}@{s}"
