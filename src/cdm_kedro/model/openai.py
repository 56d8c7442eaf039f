"""Conversion of OpenAI's Improved DDPM and ADM (guided-diffusion) networks to models of the cascade."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from cdm_kedro.errors import CdmError
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import PretrainedModelParams

_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "emb": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "skip": "skip_connection",
    "norm": "norm",
    "qkv": "qkv",
    "proj": "proj_out",
}
_GROUPS = {"down": ("input_blocks", 1, "op"), "middle": ("middle_block", 0, ""), "up": ("output_blocks", 0, "conv")}
"""OpenAI's name of a group of blocks, the number of its first block, and its name of a plain resampling convolution."""
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "norm_out": "out.0",
    "conv_out": "out.2",
    "noise_emb.fc1": "time_embed.0",
    "noise_emb.fc2": "time_embed.2",
    "class_emb": "label_emb",
}


def openai_name(name: str) -> str:
    """Translate the name of a tensor of ours, such as ``down.3.0.conv1.weight``, to OpenAI's.

    Raises CdmError if their networks have no such tensor.
    """
    module, _, kind = name.rpartition(".")
    if module in _ENDS:
        return f"{_ENDS[module]}.{kind}"
    group, *places, layer = module.split(".")
    if group not in _GROUPS:
        raise CdmError(f"published networks have no {module}; take settings that need none")
    blocks, first, resampling = _GROUPS[group]
    number = int(places[0]) + first
    return ".".join([blocks, str(number), *places[1:], resampling if layer == "conv" else _LAYERS[layer], kind])


def openai_shapes(net: UNet) -> dict[str, tuple[int, ...]]:
    """Name the tensors that OpenAI's network of this structure has, with their shapes."""
    shapes = {openai_name(name): tuple(parameter.shape) for name, parameter in net.named_parameters()}
    # Their attention uses 1-D convolutions.
    return {k: v[:-1] if k.endswith((".qkv.weight", ".proj_out.weight")) else v for k, v in shapes.items()}


def convert_openai(state: Mapping[str, Tensor], net: UNet, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Rename and reorder the tensors of OpenAI's network.

    Returns a state dict for ``net``, float32. Raises CdmError if tensors are missing, left over, or of another shape;
    the message lists them. ``net``: ours of the same structure, which may be on the meta device.
    ``new_attention_order``: ADM's flag ``use_new_attention_order``; without it heads come before q, k and v.
    """
    wanted = openai_shapes(net)
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    differences = [
        *_listed("are missing", [f"{name} {wanted[name]}" for name in wanted.keys() - found.keys()]),
        *_listed("are not asked for", [f"{name} {found[name]}" for name in found.keys() - wanted.keys()]),
        *_listed(
            "have another shape",
            [f"{n} {found[n]}, asked for {wanted[n]}" for n in wanted.keys() & found.keys() if wanted[n] != found[n]],
        ),
    ]
    if differences:
        raise CdmError("its network has another structure than the parameters:\n  " + "\n  ".join(differences))
    out: dict[str, Tensor] = {}
    for ours, parameter in net.named_parameters():
        tensor = state[openai_name(ours)].float()
        attention, is_qkv, _ = ours.partition(".qkv.")
        if is_qkv and not new_attention_order:  # their rows are (heads, 3, channels), ours (3, heads, channels)
            tensor = tensor.unflatten(0, (net.get_submodule(attention).num_heads, 3, -1)).transpose(0, 1)
        out[ours] = tensor.reshape(parameter.shape)
    return out


def _listed(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"{len(names)} tensors {what}: {'; '.join(sorted(names)[:5])}{more}"] if names else []


def load_openai(path: Path, net: UNet, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Read a published file and convert it, see :func:`convert_openai`; nothing but tensors is unpickled.

    Raises CdmError if the file holds no tensors, or another network; the message names it.
    """
    try:
        # Files of before PyTorch 1.6 are no zip archives and cannot be mapped into memory.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise CdmError(f"{path} does not exist; download the published file there") from None
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise CdmError(f"{path} is not a state dict saved by PyTorch ({reason}); is it complete?") from None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CdmError(f"{path} holds something else than a state dict; use the published .pt file")
    try:
        return convert_openai(state, net, new_attention_order)
    except CdmError as error:
        raise CdmError(f"{path}: {error}") from None


def convert_file(source: Path, name: str, params: PretrainedModelParams, out: Path) -> dict[str, Any]:
    """Write the weights that sampling reads. Equal files become equal bytes.

    Returns what the model card says of it. Raises CdmError if the file holds another network. ``out``: float32.
    """
    published = params.pretrained
    with torch.device("meta"):
        net = build_unet(params, published.num_classes)
    state = load_openai(source, net, published.new_attention_order)
    total = sum(tensor.nbytes for tensor in state.values())
    with tqdm(total=total, desc=f"convert {source.name}", unit="B", unit_scale=True) as bar:
        for key, tensor in state.items():  # the file is mapped into memory: here it is read
            state[key] = tensor.clone(memory_format=torch.contiguous_format)
            bar.update(tensor.nbytes)
    description = {"stage": name, "num_classes": str(published.num_classes), "params": params.model_dump_json()}
    write_weights(out, state, description)
    return {
        "source": source.name,
        "num_classes": published.num_classes,
        "parameters": sum(tensor.numel() for tensor in state.values()),
    }
