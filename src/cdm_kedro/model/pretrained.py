"""Converting a published weights file to a model of the cascade."""

from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.build import build_unet
from cdm_kedro.model.openai import load_openai
from cdm_kedro.params.model import PretrainedModelParams


def convert_file(source: Path, name: str, params: PretrainedModelParams, out: Path) -> dict[str, Any]:
    """Write the weights that sampling reads. Equal files become equal bytes.

    Returns what the model card says of it. Raises CdmError if the file holds another network. ``source``: published
    file. ``name``: of the model. ``params``: of the model. ``out``: safetensors file to write, float32.
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
