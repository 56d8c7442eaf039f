"""Muon (Jordan et al. 2024), an optimizer for the small budgets of a demo; the paper trains with Adam."""

import math
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor, nn


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of (B, m, n) matrices to about 0.7 .. 1.2 by five Newton-Schulz steps; bfloat16."""
    x = matrices.bfloat16()
    x = x.mT if x.shape[1] > x.shape[2] else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x if x.shape == matrices.shape else x.mT


class Muon(torch.optim.Adam):
    """Moves the U-Net's inner layers by orthogonalized momentum, everything else by fused Adam.

    A convolution's kernel is the matrix (out, in * height * width). An orthogonal update of it is scaled to the size of
    Adam's, 0.2 a value (Liu et al. 2025), so that both go by one learning rate. As in fused Adam, a step whose
    ``found_inf`` is 1 changes nothing, and nothing waits for the device. Several processes share out the matrices.
    """

    MOMENTUM = 0.95

    def __init__(self, net: nn.Module, lr: float) -> None:
        super().__init__(net.parameters(), lr=lr, fused=True)
        outer = (net.conv_in, net.conv_out)
        inner = [m.weight for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m not in outer]
        self.inner = sorted(inner, key=lambda w: (w.numel(), w.shape))  # so that processes have like shares
        self.counts = [weight.numel() for weight in self.inner]

    @torch.no_grad()
    def step(self) -> None:
        """Take one step, with the gradients of all parameters; those of the inner layers are spent."""
        lr, finite = self.param_groups[0]["lr"], 1 - self.found_inf
        rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        moved: list[Tensor] = []  # the matrices to orthogonalize, (out, height * width * in): no copy in channels_last
        for weight in self.inner:
            gradient, weight.grad = weight.grad.nan_to_num_(0, 0, 0), None  # Adam passes over what has no gradient
            if weight not in self.state:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
            momentum = self.state[weight]["momentum"].lerp_(gradient, (1 - self.MOMENTUM) * finite)
            moved.append(gradient.lerp_(momentum, self.MOMENTUM).movedim(1, -1).flatten(1))
        flat = torch.zeros(sum(self.counts), device=finite.device)
        updates = flat.split(self.counts)
        for shape, numbers in groupby(range(rank, len(moved), size), lambda number: moved[number].shape):
            same = list(numbers)
            scale = 0.2 * lr * math.sqrt(max(shape)) * finite
            for number, update in zip(same, orthogonal(torch.stack([moved[n] for n in same])) * scale, strict=True):
                updates[number].copy_(update.flatten())
        if size > 1:
            dist.all_reduce(flat)  # every update is zero but in one process
        for weight, update in zip(self.inner, updates, strict=True):
            rows = weight.movedim(1, -1)
            rows.sub_(update.view(rows.shape))
        super().step()
