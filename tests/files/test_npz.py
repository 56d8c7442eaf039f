"""Whoever needs images of a large npz reads their rows: the whole never comes into memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cdm_kedro.evaluation.collect import collect
from cdm_kedro.evaluation.pictures import draw_single_images
from cdm_kedro.evaluation.sources import NpzSource
from cdm_kedro.files.npz import write_arrays, write_npz
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import GridsParams
from cdm_kedro.pipelines.grids import draw_grids
from cdm_kedro.studies.cas.generated import samples_to_beton
from cdm_kedro.studies.cas.results import draw_classes
from cdm_kedro.studies.claim.scores import _first
from cdm_kedro.tracking import scratch

SIDE, SHARDS, SHARD = 256, 16, 20
CLASSES = ["a", "b"]
BYTES = SHARDS * SHARD * SIDE * SIDE * 3  # 63 MB
SCORES = {"resolution": SIDE, "per_class": {"top1": [1, 0], "images": [2, 2]}}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    paths = [folder / f"{number}.npz" for number in range(SHARDS)]
    for path in paths:
        write_arrays(path, {"top": rng.integers(0, 256, (SHARD, SIDE, SIDE, 3), np.uint8)})
    return paths


def merge(shards: list[Path], path: Path) -> Path:
    write_npz(path, shards, "top", SIDE, np.arange(SHARDS * SHARD) % len(CLASSES))
    return path


@pytest.fixture(scope="module")
def samples(shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merge(shards, tmp_path_factory.mktemp("samples") / "samples.npz")


class Mean:
    """An extractor that is no network."""

    remake, name, dim = None, "mean", 3

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        return np.stack([image[::16].mean((0, 1)) for image in images]).astype(np.float32), None

    def describe(self) -> dict[str, str]:
        return {}


def single_images(samples: Path, folder: Path) -> None:
    few = np.arange(0, 300, 60)
    chosen = {"shown": few, "neighbours": few[:, None], "distances": np.ones((5, 1))}
    chosen |= dict.fromkeys(("random", "best", "worst"), few)
    chosen |= {f"{name}_realism": np.ones(5) for name in ("random", "best", "worst")}
    numbers = dict.fromkeys(("median_distance_samples_to_train", "median_distance_val_to_train"), 1.0)
    source = NpzSource(samples)
    draw_single_images(chosen, source, source, {**numbers, "train_images": 1, "samples": 1}, "mean", folder)


READERS: dict[str, Callable[[Path, Path], object]] = {
    "grids": lambda samples, _: draw_grids(CLASSES, GridsParams(), samples_256=samples),
    "pictures of the CAS": lambda samples, out: draw_classes(
        {"real": SCORES, "generated": SCORES},
        samples,
        CLASSES,
        {kind: out / f"{kind}.png" for kind in ("best", "worst")},
    ),
    "training images of the CAS": lambda samples, out: samples_to_beton(samples, out / "s.beton", CLASSES),
    "pictures of the claim": lambda samples, _: _first(samples),
    "pictures of single images": single_images,
    "metrics": lambda samples, _: collect(
        NpzSource(samples),
        Mean(),  # type: ignore[arg-type]
        EvaluateParams(batch_size=8, devices=1),
        "score",
    ),
}


def peak(work: Callable[[], object]) -> int:
    """Most bytes that Python and NumPy have in use at once, besides those in use before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", READERS)
def test_readers_of_samples_read_rows(
    reader: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path))
    assert peak(lambda: READERS[reader](samples, tmp_path)) < BYTES / 4


def test_a_reader_of_the_whole_file_would_be_noticed(samples: Path) -> None:
    assert peak(lambda: np.load(samples)["arr_0"]) > BYTES


def test_shards_are_merged_one_by_one(shards: list[Path], tmp_path: Path) -> None:
    assert peak(lambda: merge(shards, tmp_path / "merged.npz")) < 4 * BYTES / SHARDS
    with np.load(tmp_path / "merged.npz") as merged, np.load(shards[-1]) as last:
        np.testing.assert_array_equal(merged["arr_0"][-SHARD:], last["top"])
