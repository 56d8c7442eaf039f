"""What a training run measures of itself: losses, speed and memory."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor

PEAK_TFLOPS = {
    "H200": 989.4,
    "GH200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.4,
    "A100": 311.9,
    "B200": 2250.0,
    "L40S": 362.1,
    "L4": 121.0,
    "A10G": 70.0,
    "A10": 125.0,
}
"""Peaks of dense bfloat16 in the vendor's data sheets, by words of the device's name."""


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


def peak_tflops(device_name: str) -> float | None:
    """Look up a device's peak in dense bfloat16; None if it is not known."""
    words = device_name.upper().replace("-", " ").split()
    known = {name: peak for name, peak in PEAK_TFLOPS.items() if set(name.upper().split()) <= set(words)}
    return known[max(known, key=lambda name: len(name.split()))] if known else None


def achieved(forward_flops: float, images_per_second: float, devices: int, peak: float | None) -> dict[str, float]:
    """Compute the model FLOPs per second that training achieves.

    An image costs three forward passes, of which the backward pass is two. Recomputation does not count.

    Args:
        forward_flops: FLOPs of a forward pass for one image; a multiply-add counts as two.
        images_per_second: speed of all devices together.
        devices: number of devices.
        peak: peak of one device in Tera-FLOP/s.

    Returns:
        ``tflops`` of one device and, where the peak is known, its share ``peak_share`` (0 .. 1).
    """
    tflops = 3 * forward_flops * images_per_second / devices / 1e12
    return {"tflops": tflops} | ({"peak_share": tflops / peak} if peak else {})


def memory_gib(device: torch.device) -> float:
    """Return the peak memory: allocated on a GPU, resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
