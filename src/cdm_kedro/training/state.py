"""The tensors of a resume checkpoint: collected from a training, restored to it, shared among processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

Checkpoint = tuple[int, dict[str, Tensor], dict[str, Any]]  # step, tensors by name, and the rest as JSON takes it


def named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put ``prefix`` and a slash before every name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def moments(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Collect the optimizer's tensors as ``optimizer/<what>/<parameter>``. Before the first step there are none."""
    return {
        f"optimizer/{key}/{name}": value
        for name, parameter in net.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


@torch.no_grad()
def restore(
    tensors: dict[str, Tensor], kept: dict[str, Tensor], net: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Copy a checkpoint's tensors into ``kept`` by their names, and those of :func:`moments` into the optimizer."""
    for name, tensor in kept.items():
        tensor.copy_(tensors[name])
    parameters = dict(net.named_parameters())
    for label in tensors.keys() - kept.keys():
        _, key, name = label.split("/", 2)
        parameter, value = parameters[name], tensors[label]
        if value.shape == parameter.shape:  # in the parameter's memory format, which fused steps take for granted
            value = torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][key] = value


def share(found: Checkpoint | None, leader: int, device: torch.device) -> Checkpoint | None:
    """Give every process the checkpoint that the leader found. The others pass None."""
    head: list[Any] = [found and (found[0], {name: (t.shape, t.dtype) for name, t in found[1].items()}, found[2])]
    dist.broadcast_object_list(head, leader, device=device)
    if head[0] is None:
        return None
    step, kinds, state = head[0]
    tensors = found[1] if found else {n: torch.empty(s, dtype=d, device=device) for n, (s, d) in kinds.items()}
    for tensor in tensors.values():
        dist.broadcast(tensor, leader)
    return step, tensors, state
