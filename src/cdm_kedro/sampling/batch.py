"""How many images fit into a GPU's memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

CPU_BATCH = 64  # at the lowest resolution; the CPU is busy long before
_SHARE = 0.8  # of the free memory; the rest is fragmentation and other batches' shapes


def free_bytes(device: torch.device) -> int:
    """Memory that a CUDA device could still hand out."""
    return torch.cuda.mem_get_info(device)[0]


def forward_bytes(forward: Callable[[], None], device: torch.device) -> int:
    """Peak memory of a call above what was allocated before it."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    forward()
    return torch.cuda.max_memory_allocated(device) - before


def largest_batch(bytes_of: Callable[[int], int], free: int, most: int) -> int:
    """Largest power of two whose measured memory fits.

    Args:
        bytes_of: measures the memory of a batch; may raise torch.OutOfMemoryError.
        free: bytes.
        most: upper bound.

    Returns:
        At least 1.
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
