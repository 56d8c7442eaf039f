"""How many images fit into a GPU's memory."""

from collections.abc import Callable
from functools import partial

import torch

from cdm_kedro.model.build import network_inputs
from cdm_kedro.sampling.model import LoadedModel

CPU_BATCH = 64  # images at once on a CPU, at the cascade's lowest resolution; it is busy with far fewer

_MAX_BATCH = 1024  # at the lowest resolution; more images gain nothing
_SHARE = 0.8  # of the free memory; the rest is for fragmentation and for batches of other shapes


def fitting_batch(models: list[LoadedModel], lowest: int, device: torch.device) -> int:
    """Find how many images at the lowest resolution fit; models above take as many pixels, thus fewer images.

    ``lowest``: resolution in pixels. ``device``: where they are; on a CPU the answer is :data:`CPU_BATCH`.
    """
    if device.type != "cuda":
        return CPU_BATCH
    free = torch.cuda.mem_get_info(device)[0]
    fitting = [
        largest_batch(partial(sampling_bytes, model), free, _MAX_BATCH) * model.params.resolution**2 // lowest**2
        for model in models
    ]
    return max(1, min(_MAX_BATCH, *fitting))


def sampling_bytes(model: LoadedModel, batch: int) -> int:
    """Measure the CUDA memory, in bytes, that sampling a batch takes beside the weights."""
    device = model.device
    with torch.device(device):
        x, *others = network_inputs(model.params, batch, model.params.resolution)
    assert x is not None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    with torch.no_grad(), model.autocast():
        model.net(x.contiguous(memory_format=model.layout), *others)
    network = torch.cuda.max_memory_allocated(device) - before
    # Beside the network's activations there are the state, its noise and their 64-bit words: some copies of x.
    return (1 if model.sampling.guidance_scale == 1 else 2) * network + 16 * x.numel() * x.element_size()


def largest_batch(bytes_of: Callable[[int], int], free: int, most: int) -> int:
    """Find the largest power of two whose measured memory fits, at least 1.

    ``bytes_of`` measures the memory of a batch; it may raise torch.OutOfMemoryError. ``free``: memory in bytes.
    """
    batch = 1
    while 2 * batch <= most:
        try:
            # Memory grows at most in proportion, so a batch far too large is never tried.
            if 2 * bytes_of(batch) > _SHARE * free or bytes_of(2 * batch) > _SHARE * free:
                break
        except torch.OutOfMemoryError:
            break
        batch *= 2
    return batch
