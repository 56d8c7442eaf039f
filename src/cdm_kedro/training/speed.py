"""How fast and how large a training run is. Nothing here can change a weight, so an edit retrains nothing."""

from pathlib import Path

import torch

from cdm_kedro.files.table import from_csv

_TABLE = from_csv(Path(__file__).with_suffix(".csv").read_text(encoding="utf-8"))
PEAK_TFLOPS: dict[str, float] = {row["device"]: row["tflops"] for row in _TABLE}
"""Peaks of dense bfloat16 in the vendor's data sheets, by words of the device's name."""


def peak_tflops(device_name: str) -> float | None:
    """Look up a device's peak in dense bfloat16; None if it is not known."""
    words = device_name.upper().replace("-", " ").split()
    known = {name: peak for name, peak in PEAK_TFLOPS.items() if set(name.upper().split()) <= set(words)}
    return known[max(known, key=lambda name: len(name.split()))] if known else None


def achieved(forward_flops: float, images_per_second: float, devices: int, peak: float | None) -> dict[str, float]:
    """Compute the model FLOPs per second that training achieves.

    An image costs three forward passes, two of them in the backward pass. A multiply-add counts as two FLOPs, and
    recomputation does not count. ``peak`` is that of one device in Tera-FLOP/s. Returns ``tflops`` of one device and,
    where the peak is known, its share ``peak_share`` (0 .. 1).
    """
    tflops = 3 * forward_flops * images_per_second / devices / 1e12
    return {"tflops": tflops} | ({"peak_share": tflops / peak} if peak else {})


def memory_gib(device: torch.device) -> float:
    """Return the peak memory: allocated on a GPU, resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
