"""How a network is executed on a device: precision, memory layout, compilation. None of it needs other weights."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

log = logging.getLogger(__name__)


def usable_precision(wanted: str, device: torch.device) -> str:
    """Return the precision that is wanted, "bf16" or "fp32"; float32 on a GPU that only emulates bfloat16.

    Such GPUs (before Ampere) have fast float16, but training in it needs its loss scaled, and is another algorithm.
    """
    if wanted == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        log.warning("%s has no bfloat16: going on in float32", torch.cuda.get_device_name(device))
        return "fp32"
    return wanted


def memory_layout(device: torch.device, compiled: bool) -> torch.memory_format:
    """Return the layout in which the U-Net is fastest.

    That is channels_last, but for a GPU without compilation: its GroupNorm copies every input to the contiguous layout.
    """
    plain_gpu = device.type == "cuda" and not compiled
    return torch.contiguous_format if plain_gpu else torch.channels_last


def compiled(
    function: Callable[..., Any],
    name: str,
    ways: Sequence[Mapping[str, Any]] = ({},),
    plainly: Callable[[], object] = lambda: None,
) -> Callable[..., Any]:
    """Compile a function when it is first called; from a failure on, use the next way, and at last call it plainly.

    ``ways`` are settings of torch.compile, the fastest first. ``plainly`` is called before the first plain call.
    """
    torch._dynamo.config.recompile_limit = 64  # all models of a cascade are one function to the compiler
    left = [(torch.compile(function, **way), way) for way in ways]

    def call(*args: Any) -> Any:
        while left:
            try:
                return left[0][0](*args)
            except Exception as error:  # the compiler's failures have no common type; a real error comes again below
                how = "".join(f", {key} {value}" for key, value in left.pop(0)[1].items())
                reason = str(error).partition("\n")[0][:300]
                log.warning("torch.compile of %s%s failed, going on without it: %s", name, how, reason)
                if not left:
                    plainly()
        return function(*args)

    return call
