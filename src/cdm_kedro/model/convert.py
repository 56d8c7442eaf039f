"""State dicts of OpenAI's Improved DDPM and ADM (guided-diffusion) networks, renamed for :class:`UNet`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from cdm_kedro.model.layers import Attention, Resample, ResBlock
from cdm_kedro.model.unet import UNet

_RES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "emb": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "skip": "skip_connection",
}


class ConversionError(ValueError):
    """The state dict is not of such a network; the message names tensors and shapes."""


def _layers(net: UNet) -> Iterator[tuple[str, str, nn.Module]]:
    """Our name, the peer's name and the module, of every layer with parameters."""
    yield "conv_in", "input_blocks.0.0", net.conv_in
    groups = (("down", "input_blocks", 1), ("middle", "middle_block", 0), ("up", "output_blocks", 0))
    for ours, theirs, first in groups:
        for i, entry in enumerate(getattr(net, ours)):
            if not isinstance(entry, nn.ModuleList):  # the middle is one flat list
                yield from _inside(f"{ours}.{i}", f"{theirs}.{i}", entry)
                continue
            for j, layer in enumerate(entry):
                yield from _inside(f"{ours}.{i}.{j}", f"{theirs}.{i + first}.{j}", layer)
    yield "norm_out", "out.0", net.norm_out
    yield "conv_out", "out.2", net.conv_out
    yield "noise_emb.fc1", "time_embed.0", net.noise_emb.fc1
    yield "noise_emb.fc2", "time_embed.2", net.noise_emb.fc2
    if net.class_emb is not None:
        yield "class_emb", "label_emb", net.class_emb


def _inside(ours: str, theirs: str, layer: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    if isinstance(layer, ResBlock):
        for own, peer in _RES.items():
            yield f"{ours}.{own}", f"{theirs}.{peer}", layer.get_submodule(own)
    elif isinstance(layer, Attention):
        for own, peer in (("norm", "norm"), ("qkv", "qkv"), ("proj", "proj_out")):
            yield f"{ours}.{own}", f"{theirs}.{peer}", layer.get_submodule(own)
    elif isinstance(layer, Resample):
        yield f"{ours}.conv", f"{theirs}.{'conv' if layer.up else 'op'}", layer.conv


def _reorder_heads(rows: Tensor, heads: int) -> Tensor:
    """Rows ordered (heads, 3, channels) to our (3, heads, channels)."""
    split = rows.reshape(heads, 3, rows.shape[0] // (3 * heads), *rows.shape[1:])
    return split.transpose(0, 1).reshape(rows.shape)


def convert_openai(state: dict[str, Tensor], net: UNet, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Rename and reorder a peer's tensors.

    Args:
        state: their ``state_dict``.
        net: ours of the same structure (may be on the meta device).
        new_attention_order: ADM's flag ``use_new_attention_order``; without it their heads come before q, k, v.

    Returns:
        A state dict for ``net``, float32.

    Raises:
        ConversionError: a tensor is missing, left over, or of another shape.
    """
    wanted, left = net.state_dict(), dict(state)
    heads = {name: module.num_heads for name, module in net.named_modules() if isinstance(module, Attention)}
    out: dict[str, Tensor] = {}
    for ours, theirs, module in _layers(net):
        for kind, _ in module.named_parameters(recurse=False):
            name, peer = f"{ours}.{kind}", f"{theirs}.{kind}"
            if peer not in left:
                raise ConversionError(f"the state dict lacks {peer}; its network has another structure")
            tensor = left.pop(peer).float()
            if ours.endswith(".qkv") and not new_attention_order:
                tensor = _reorder_heads(tensor, heads[ours.removesuffix(".qkv")])
            if tensor.ndim == 3 and wanted[name].ndim == 4:  # their attention uses 1-D convolutions
                tensor = tensor[..., None]
            if tensor.shape != wanted[name].shape:
                raise ConversionError(
                    f"{peer} has shape {tuple(tensor.shape)}, the parameters ask for {name} with "
                    f"{tuple(wanted[name].shape)}"
                )
            out[name] = tensor
    if left:
        raise ConversionError(
            f"the state dict has {len(left)} tensors that the parameters do not ask for: {sorted(left)[:5]}"
        )
    return out


def load_openai(path: str, net: UNet, new_attention_order: bool = False) -> dict[str, Tensor]:
    """:func:`convert_openai` of a published file; unpickles tensors only."""
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return convert_openai(state, net, new_attention_order)
