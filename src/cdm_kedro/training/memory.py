"""Estimates the GPU memory of a training step on the meta device, to decide whether activations are recomputed."""

import torch
from torch import Tensor

from cdm_kedro.model.build import build_unet, network_inputs
from cdm_kedro.model.sizes import training_side
from cdm_kedro.params.model import TrainedModelParams

STATE_BYTES = 22
"""Bytes of one parameter: float32 weight, gradient, two Adam moments and EMA (20), autocast's bfloat16 copy (2)."""
_SHARES = {("bf16", False): 0.85, ("bf16", True): 0.5}
"""Activations over those of float32, by precision and compilation. In autocast, GroupNorm and SiLU keep float32 inputs;
compiled, they are computed again from bfloat16 (0.30 to 0.38 with the CPU's compiler, and a margin)."""
_USABLE = 0.9  # of the device's memory; workspaces, fragments and communication take the rest


def saved_bytes(net: torch.nn.Module, inputs: list[Tensor | None]) -> int:
    """Count the bytes that a forward pass keeps for its backward pass, without the parameters."""
    own = {p.untyped_storage()._cdata for p in net.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor  # kept alive, so that no other storage takes its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net(*inputs)
    del out
    return sum(t.untyped_storage().nbytes() for t in kept.values())


def step_bytes(params: TrainedModelParams, num_classes: int, microbatch: int, precision: str, compiled: bool) -> int:
    """Estimate the bytes of one training step that keeps all its activations."""
    with torch.device("meta"):
        net = build_unet(params, num_classes).to("meta")
        # What the second image costs, or a single one, differs: memory formats coincide in a batch of one.
        two, three = (saved_bytes(net, network_inputs(params, n, training_side(params))) for n in (2, 3))
    activations = _SHARES.get((precision, compiled), 1) * (two + (microbatch - 2) * (three - two))
    state = STATE_BYTES + (4 if params.training.selection else 0)  # of its own network, which scores the average
    return int(state * sum(p.numel() for p in net.parameters()) + activations)


def needs_checkpointing(
    params: TrainedModelParams, num_classes: int, microbatch: int, precision: str, compiled: bool, memory: int | None
) -> bool:
    """Decide whether activations must be recomputed, so that a step fits into memory.

    ``params``: the model's parameters; an explicit ``unet.checkpointing`` is obeyed. ``precision``: "bf16" or "fp32".
    ``memory``: bytes of the GPU's memory; None on a CPU, where nothing is recomputed.
    """
    if params.unet.checkpointing != "auto":
        return bool(params.unet.checkpointing)
    return memory is not None and step_bytes(params, num_classes, microbatch, precision, compiled) > _USABLE * memory
