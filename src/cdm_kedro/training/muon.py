"""Muon (Jordan et al. 2024), an optimizer for the small budgets of a demo; the paper trains with Adam."""

import math

import torch
from torch import Tensor, nn


def orthogonal(matrix: Tensor) -> Tensor:
    """Bring the singular values of a (m, n) matrix to about 0.7 .. 1.2: five Newton-Schulz steps in bfloat16."""
    x = matrix.bfloat16()
    x = x.T if len(x) > x.shape[1] else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return (x.T if len(matrix) > matrix.shape[1] else x).to(matrix.dtype)


class Muon(torch.optim.Adam):
    """Moves the U-Net's inner layers by orthogonalized momentum, everything else by fused Adam.

    A convolution's kernel is the matrix (out, in * height * width). An orthogonal update of it is scaled to the size of
    Adam's, 0.2 a value (Liu et al. 2025), so that both go by one learning rate. As in fused Adam, a step whose
    ``found_inf`` is 1 changes nothing, and nothing waits for the device.
    """

    MOMENTUM = 0.95

    def __init__(self, net: nn.Module, lr: float) -> None:
        super().__init__(net.parameters(), lr=lr, fused=True)
        outer = (net.conv_in, net.conv_out)
        self.inner = [m.weight for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m not in outer]

    @torch.no_grad()
    def step(self) -> None:
        """Take one step, with the gradients of the parameters; those of the inner layers are spent."""
        lr, finite = self.param_groups[0]["lr"], 1 - self.found_inf
        for weight in self.inner:
            if weight.grad is None:
                continue
            gradient, weight.grad = weight.grad.nan_to_num(0, 0, 0), None  # Adam passes over what has no gradient
            momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            momentum.lerp_(gradient, (1 - self.MOMENTUM) * finite)
            rows = gradient.lerp_(momentum, self.MOMENTUM).movedim(1, -1)  # in channels_last no copy
            matrix = orthogonal(rows.flatten(1)) * (0.2 * lr * math.sqrt(max(rows[0].numel(), len(rows))) * finite)
            weight.sub_(matrix.view(rows.shape).movedim(-1, 1))
        super().step()
