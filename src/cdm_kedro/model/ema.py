"""Exponential moving average of a model's parameters."""

import torch
from torch import Tensor, nn


class EMA:
    """Average of every parameter. An update takes a few fused kernels and never waits for the device.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the average of a short run forgets its random
    start. At the paper's 0.9999 this warm-up ends after 90 000 updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._names = [name for name, _ in model.named_parameters()]
        self._source = list(model.parameters())
        self.shadow = [parameter.detach().clone() for parameter in self._source]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's present parameters."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(self.shadow, self._source, 1.0 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Parameter names to float32 averages, which are not copies."""
        return dict(zip(self._names, self.shadow, strict=True))
