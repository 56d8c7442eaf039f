"""Noise schedules, in float64."""

import math

import torch
from torch import Tensor


def cosine_betas(timesteps: int, max_beta: float = 0.999) -> Tensor:
    """The cosine schedule of Improved DDPM (Nichol & Dhariwal 2021, equation 17; offset 0.008).

    Returns (T,) float64, clipped at ``max_beta``.
    """
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    alphas_cumprod = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(max=max_beta)


def linear_betas(timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """The linear schedule of DDPM; the end points are stated for 1000 steps and scaled by 1000 / T.

    Returns (T,) float64. Raises ValueError for so few steps that a beta would reach 1.
    """
    scale = 1000 / timesteps
    if beta_end * scale >= 1:
        raise ValueError(
            f"beta_end {beta_end} x 1000 / {timesteps} steps is {beta_end * scale:.3g}, not below 1; use more steps"
        )
    return torch.linspace(beta_start * scale, beta_end * scale, timesteps, dtype=torch.float64)


def make_betas(schedule: str, timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tensor:
    """Betas of a training schedule, "cosine" or "linear". Raises ValueError for an unknown schedule."""
    if schedule == "cosine":
        return cosine_betas(timesteps)
    if schedule == "linear":
        return linear_betas(timesteps, beta_start, beta_end)
    raise ValueError(f"schedule {schedule!r} is unknown; choose cosine or linear")


def inference_alphas_cumprod(schedule: str, steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Noise levels of an inference schedule chosen after training (section 4.4; WaveGrad, SR3).

    Returns (steps,) float64 alphas_cumprod, decreasing. Raises ValueError for an unknown schedule.

    Args:
        schedule: how the betas run from ``beta_start`` to ``beta_end``, which are taken as they are for any number of
            steps: "linear", "quadratic" (linear square roots) or "log" (geometric); "cosine" needs no end points.
        steps: number of reverse steps; a single one has ``beta_end``.
    """
    first = beta_start if steps > 1 else beta_end
    if schedule == "cosine":
        betas = cosine_betas(steps)
    elif schedule == "linear":
        betas = torch.linspace(first, beta_end, steps, dtype=torch.float64)
    elif schedule == "quadratic":
        betas = torch.linspace(first**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    elif schedule == "log":
        betas = torch.logspace(math.log10(first), math.log10(beta_end), steps, dtype=torch.float64)
    else:
        raise ValueError(f"schedule {schedule!r} is unknown; choose linear, cosine, quadratic or log")
    return (1 - betas).cumprod(0)


def end_points(
    schedule: str, steps: int, trained: Tensor, beta_start: float | None = None, beta_end: float | None = None
) -> tuple[float, float]:
    """Fill in the end points of an inference schedule that are not given, so that it spans the levels of training.

    The first beta adds as much noise as the first T / steps steps of training would at their first beta. The last beta
    is the one at which the noisiest level is training's own. With steps = T, both are training's if the forms agree.
    Returns first and last beta. ``trained``: (T,) float64 alphas_cumprod of the training process; other arguments are
    those of :func:`inference_alphas_cumprod`.
    """
    if beta_start is None:
        beta_start = 1 - float(trained[0]) ** (len(trained) / steps)
    if beta_end is not None:
        return beta_start, beta_end
    low, high = beta_start, 1.0  # the noisiest level falls as the last beta grows; low stays within the trained range
    for _ in range(60):
        middle = (low + high) / 2
        inside = inference_alphas_cumprod(schedule, steps, beta_start, middle)[-1] >= trained[-1]
        low, high = (middle, high) if inside else (low, middle)
    return beta_start, low
