from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cdm_kedro.data.beton import read_beton
from cdm_kedro.data.loader import BetonLoader, sample_positions


def take(loader: BetonLoader, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    try:
        return [(images.clone(), labels.clone()) for images, labels in itertools.islice(loader, count)]
    finally:
        loader.close()


def test_order_visits_every_sample_once_an_epoch_and_any_part_alone() -> None:
    stream = sample_positions(17, 5, 0, 51)
    for epoch in range(3):
        assert sorted(stream[17 * epoch : 17 * epoch + 17]) == list(range(17))
    assert not np.array_equal(stream[:17], stream[17:34])
    assert np.array_equal(sample_positions(17, 5, 13, 20), stream[13:33])
    assert not np.array_equal(sample_positions(17, 6, 0, 17), stream[:17])


def test_batches_are_the_samples_of_the_order(betons: dict[str, Path]) -> None:
    images, labels = read_beton(betons["train_32"])
    got = take(BetonLoader(betons["train_32"], 4, seed=1), 12)  # past the end of an epoch of 18
    stream = sample_positions(18, 1, 0, 48).reshape(12, 4)
    for (x, y), wanted in zip(got, stream, strict=True):
        assert x.dtype == torch.uint8 and x.shape == (4, 3, 32, 32)
        assert np.array_equal(x.permute(0, 2, 3, 1).numpy(), images[wanted]) and np.array_equal(
            y.numpy(), labels[wanted]
        )


def test_a_batch_is_not_overwritten_before_the_next_is_asked_for(betons: dict[str, Path]) -> None:
    loader = BetonLoader(betons["train_32"], 4, seed=1)
    images_of, labels_of = read_beton(betons["train_32"])
    stream = sample_positions(18, 1, 0, 4 * 60).reshape(60, 4)
    kept = []
    for wanted in stream:
        images, labels = next(loader)
        time.sleep(0.005)  # FFCV reads ahead as far as it can
        assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), images_of[wanted])
        assert np.array_equal(labels.numpy(), labels_of[wanted])
        kept.append(images)
    loader.close()
    # It does reuse its buffers: a batch kept for longer ends up with the contents of a later one.
    held = [np.array_equal(b.permute(0, 2, 3, 1).numpy(), images_of[w]) for b, w in zip(kept, stream, strict=True)]
    assert not all(held[:-8])


def test_resume_at_any_step(betons: dict[str, Path]) -> None:
    whole = take(BetonLoader(betons["train_32"], 4, seed=1), 9)
    rest = take(BetonLoader(betons["train_32"], 4, seed=1, start_step=5), 4)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[5:], rest, strict=True))


def test_chunks_join_seamlessly(betons: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = take(BetonLoader(betons["train_32"], 4, seed=1), 9)
    monkeypatch.setattr("cdm_kedro.data.loader._CHUNK_STEPS", 2)
    chunked = take(BetonLoader(betons["train_32"], 4, seed=1), 9)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole, chunked, strict=True))


def test_ranks_share_the_batch(betons: dict[str, Path]) -> None:
    whole = take(BetonLoader(betons["train_32"], 6, seed=1), 3)
    ranks = [take(BetonLoader(betons["train_32"], 6, seed=1, rank=r, world_size=3), 3) for r in range(3)]
    for step in range(3):
        assert torch.equal(torch.cat([ranks[r][step][0] for r in range(3)]), whole[step][0])


def test_threads_and_refusals(betons: dict[str, Path]) -> None:
    import threading

    torch.set_num_threads(2)
    before = threading.active_count()
    loader = BetonLoader(betons["train_32"], 4, seed=1)
    next(loader)
    assert torch.get_num_threads() == 2
    loader.close()
    loader.close()
    assert threading.active_count() == before
    with pytest.raises(ValueError, match=r"fewer than training\.batch_size 19"):
        BetonLoader(betons["train_32"], 19, seed=1)
    with pytest.raises(ValueError, match="not divisible by 4"):
        BetonLoader(betons["train_32"], 6, seed=1, world_size=4)
