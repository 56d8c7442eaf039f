"""Selectors for tests: scores from a list, or from the weights themselves."""

from __future__ import annotations

from typing import Any

from torch import Tensor

SCRIPT: list[float] = []
"""Scores to come; where it is empty, the score is an arbitrary function of the weights."""


class Selector:
    name = "scripted"

    def __init__(self, job: Any, world: Any) -> None:
        self.coming = list(SCRIPT)

    def score(self, weights: dict[str, Tensor]) -> float:
        if self.coming:
            return self.coming.pop(0)
        return float(sum(t.double().abs().sum() for t in weights.values()) * 1e4 % 1)
