from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cdm_kedro.params.files import read_parameters
from cdm_kedro.sampling.batch import CPU_BATCH, fitting_batch, largest_batch, sampling_bytes
from cdm_kedro.sampling.cascade import Cascade
from project import ROOT
from tiny_cascade import sampling


def test_batch_size_is_the_largest_that_fits() -> None:
    def measure(batch: int) -> int:
        tried.append(batch)
        if batch > 100:
            raise torch.OutOfMemoryError("too much")
        return 10 + 3 * batch

    for free, most, expected in ((1000, 1024, 64), (100, 1024, 16), (10, 1024, 1), (10**9, 32, 32), (10**9, 1024, 64)):
        tried: list[int] = []
        assert largest_batch(measure, free, most) == expected
        assert max(tried, default=1) <= 2 * expected


def test_memory_is_that_of_an_evaluation_and_the_lowest_model_counts_the_images(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every network takes the inputs that are made for it; CUDA's counters are played."""
    loaded = Cascade.from_files(models, sampling(), torch.device("cpu")).models
    assert fitting_batch(loaded, 8, torch.device("cpu")) == CPU_BATCH
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1030)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    values = {model.name: 16 * 2 * 3 * model.params.resolution**2 * 4 for model in loaded}
    assert {model.name: sampling_bytes(model, 2) for model in loaded} == {k: 1000 + v for k, v in values.items()}
    loaded[0].sampling = loaded[0].sampling.model_copy(update={"guidance_scale": 2.0})
    assert sampling_bytes(loaded[0], 2) == 2000 + values["base"]


def test_the_papers_samples_come_in_batches_that_the_gpu_takes() -> None:
    """A number would leave single images at 256 pixels."""
    values, _ = read_parameters(ROOT / "conf", "imagenet")
    searches = [value for name, value in values.items() if name.startswith("search_")]
    assert len(searches) == 3
    assert {settings["batch_size"] for settings in (values["sample"], *searches)} == {"auto"}
