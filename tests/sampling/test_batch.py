from __future__ import annotations

import torch

from cdm_kedro.sampling.batch import largest_batch


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
