"""Random numbers of a training step."""

from __future__ import annotations

import torch

from cdm_kedro.training.draws import Draws, mix_seed

CPU = torch.device("cpu")


def test_a_share_of_the_batch_draws_that_share_of_the_whole() -> None:
    whole = Draws(3, 64, CPU)(7, 0, 64, (3, 2, 2), (1,))
    parts = [Draws(3, 64, CPU)(7, first, 16, (3, 2, 2), (1,)) for first in range(0, 64, 16)]
    uneven, first = [], 0  # shares and microbatches that cut the blocks of two positions
    for count in (1, 2, 5, 16, 3, 37):
        uneven.append(Draws(3, 64, CPU)(7, first, count, (3, 2, 2), (1,)))
        first += count
    for number, tensor in enumerate(whole):
        assert torch.equal(torch.cat([part[number] for part in parts]), tensor)
        assert torch.equal(torch.cat([part[number] for part in uneven]), tensor)
    uniforms, normal, _ = whole
    assert uniforms.shape == (64, 8) and uniforms.min() >= 0 and uniforms.max() < 1 and len(uniforms.unique()) > 500
    assert abs(normal.mean()) < 0.2 and abs(normal.std() - 1) < 0.1


def test_seed_step_and_position_all_count() -> None:
    seen = {mix_seed(*parts) for parts in ((0, 1), (1, 0), (0, 1, 0), (0, 2), (1, 1))}
    assert len(seen) == 5 and all(0 <= seed < 2**63 for seed in seen)
    draws = [
        Draws(seed, 4, CPU)(step, first, 2)[0] for seed, step, first in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 2))
    ]
    assert all(not torch.equal(draws[0], other) for other in draws[1:])
