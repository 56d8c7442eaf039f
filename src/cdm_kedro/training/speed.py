"""How fast training goes, in the device's terms."""

from __future__ import annotations

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
"""Dense bfloat16 tensor-core peaks in the vendor's data sheets, by a part of the device's name."""


def peak_tflops(device_name: str) -> float | None:
    """Peak of a device in dense bfloat16, or None where it is not known."""
    words = device_name.upper().replace("-", " ").split()
    best = None
    for name, peak in PEAK_TFLOPS.items():
        parts = name.upper().split()
        if all(part in words for part in parts) and (best is None or len(parts) > best[0]):
            best = len(parts), peak
    return best[1] if best else None


def achieved(forward_flops: float, images_per_second: float, devices: int, peak: float | None) -> dict[str, float]:
    """Model FLOPs a second: three forward passes an image (forward, and twice in backward), recomputation not counted.

    Args:
        forward_flops: of one image; a multiply-add counts as two.
        images_per_second: over all devices.
        devices: how many.
        peak: of one device, in Tera-FLOP/s.

    Returns:
        ``tflops`` of one device and, where the peak is known, ``peak_share`` of it (0 .. 1).
    """
    tflops = 3 * forward_flops * images_per_second / devices / 1e12
    return {"tflops": tflops} | ({"peak_share": tflops / peak} if peak else {})
