"""What a training run measures of itself."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor


class Meter:
    """Sums on the device between two log points; reading them is the step loop's only synchronization."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, device=device)  # loss, gradient norm, finite steps
        self.quartiles = torch.zeros(2, 4, device=device)  # loss and count by quartile of t

    def add_losses(self, quartile: Tensor, losses: Tensor) -> None:
        """Per-example losses with the quartile (0 .. 3) of their noise level."""
        self.quartiles[0].index_add_(0, quartile, losses)
        self.quartiles[1].index_add_(0, quartile, torch.ones_like(losses))

    def read(self) -> dict[str, float]:
        """Means since the last call."""
        if dist.is_initialized():
            dist.all_reduce(self.quartiles)
        loss, norm, steps, *rest = torch.cat((self.sums, self.quartiles.flatten())).tolist()
        self.sums.zero_()
        self.quartiles.zero_()
        values = {"loss": loss / steps, "grad_norm": norm / steps} if steps else {}
        values |= {f"loss_q{i + 1}": rest[i] / rest[4 + i] for i in range(4) if rest[4 + i] and math.isfinite(rest[i])}
        return values


def memory_gib(device: torch.device) -> float:
    """Peak memory: allocated on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
