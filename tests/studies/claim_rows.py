"""Constructed scores of the claim's points."""

from __future__ import annotations

import numpy as np

from cdm_kedro.files.table import Row


def curves(rng: np.random.Generator, seeds: int, noise: float, **by_mode: dict[int, float]) -> list[Row]:
    """Rows with noise that a seed's points share, and a little of their own."""
    rows = []
    for seed in range(seeds):
        shared = rng.normal() * 20 * noise
        for mode, points in by_mode.items():
            for s, value in points.items():
                rows.append(
                    {"seed": seed, "conditioning": mode, "s": s, "fd": value + shared + rng.normal() * noise, "n": 9}
                )
    return rows
