"""What a training run measures of itself: losses by time, and the size of its gradients."""

import math

import torch
import torch.distributed as dist
from torch import Tensor


class Meter:
    """Sums up on the device between two log points. Only reading the sums waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(3, device=device)  # loss, gradient norm, finite steps
        self.quartiles = torch.zeros(2, 4, device=device)  # loss and count by quartile of t

    def add_losses(self, quartile: Tensor, losses: Tensor) -> None:
        """Add (b,) losses to the quartiles of t, 0 .. 3, that their examples were noised to."""
        self.quartiles[0].index_add_(0, quartile, losses)
        self.quartiles[1].index_add_(0, quartile, torch.ones_like(losses))

    def read(self) -> dict[str, float]:
        """Return the means since the last call."""
        if dist.is_initialized():
            dist.all_reduce(self.quartiles)
        loss, norm, steps, *rest = torch.cat((self.sums, self.quartiles.flatten())).tolist()
        self.sums.zero_()
        self.quartiles.zero_()
        values = {"loss": loss / steps, "grad_norm": norm / steps} if steps else {}
        values |= {f"loss_q{i + 1}": rest[i] / rest[4 + i] for i in range(4) if rest[4 + i] and math.isfinite(rest[i])}
        return values
