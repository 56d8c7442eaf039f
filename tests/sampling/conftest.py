from __future__ import annotations

from pathlib import Path

import pytest
from tiny_cascade import CASCADE, CLASSES, write_model


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    """One, here: on networks this small a second thread costs more than it brings."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: write_model(folder / f"{name}.safetensors", raw, seed) for seed, (name, raw) in enumerate(CASCADE.items())
    }


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """FFCV files at 8 and 16 pixels: 3 images of each class for training, 1 for validation, shuffled."""
    import numpy as np

    from cdm_kedro.data.beton_writer import write_beton

    folder = tmp_path_factory.mktemp("real")
    rng = np.random.default_rng(0)
    files = {}
    for split, count in (("train", 3), ("val", 1)):
        labels = rng.permutation(np.repeat(np.arange(CLASSES), count))
        images = rng.integers(0, 256, (len(labels), 16, 16, 3), dtype=np.uint8)
        for side in (8, 16):
            smaller = images[:, :side, :side]
            files[f"{split}_{side}"] = folder / f"{split}_{side}.beton"
            source = [(np.ascontiguousarray(x), int(y)) for x, y in zip(smaller, labels, strict=True)]
            write_beton(source, files[f"{split}_{side}"], "test")
    return files
