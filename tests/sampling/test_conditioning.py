from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cdm_kedro.data.beton import read_beton
from cdm_kedro.sampling.cascade import Cascade
from tiny_cascade import CLASSES, sampling


def test_ground_truth_conditions_in_a_balanced_order(models: dict[str, Path], real: dict[str, Path]) -> None:
    params = sampling(stages={"sr": {"s": 0, "truncated": False, "conditioning": "train"}})
    cascade = Cascade.from_files(models, params, torch.device("cpu"), real=real)
    low = cascade.run(torch.arange(16) % CLASSES, torch.arange(16), 0).low["sr"]
    images, labels = read_beton(real["train_8"])
    for i in range(16):
        of_class = images[labels == i % CLASSES]
        assert np.array_equal(low[i].permute(1, 2, 0).numpy(), of_class[i // CLASSES % 3])
    assert len({x.numpy().tobytes() for x in low[:12]}) == 12  # every image once before any comes again
    part = cascade.run(torch.tensor([2]), torch.tensor([6]), 0)
    assert torch.equal(part.low["sr"][0], low[6])
