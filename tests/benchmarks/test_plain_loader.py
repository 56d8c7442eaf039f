import sys
from pathlib import Path

import pytest
import torch

from cdm_kedro.data.loader import BetonLoader
from project import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from plain_loader import PlainLoader


@pytest.mark.parametrize(("rank", "world_size", "start_step"), [(0, 1, 0), (1, 2, 3)])
def test_batches_are_those_of_the_projects_loader(
    betons: dict[str, Path], rank: int, world_size: int, start_step: int
) -> None:
    settings = {"seed": 5, "rank": rank, "world_size": world_size, "start_step": start_step}
    ours, plain = (kind(betons["train_32"], 4, **settings) for kind in (BetonLoader, PlainLoader))
    try:
        for _ in range(12):  # over the end of the data
            (images, labels), (same, equal) = next(ours), next(plain)
            assert torch.equal(images, same) and torch.equal(labels, equal) and labels.dtype == equal.dtype
            assert same.is_contiguous(memory_format=torch.channels_last)
    finally:
        ours.close()
        plain.close()
