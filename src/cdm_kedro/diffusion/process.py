"""The Gaussian forward process and its posterior (section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class DiffusionProcess:
    """Tables of a discrete forward process, in float64, and the formulas over them.

    Index t runs over 0 .. T-1; index 0 is the paper's t = 1. Tensors returned are float32, of the images' shape or
    broadcastable to it.

    Args:
        betas: (T,) float64, each in (0, 1).
    """

    def __init__(self, betas: Tensor) -> None:
        if betas.ndim != 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("betas must be a vector of values strictly between 0 and 1")
        self.betas = betas = betas.to(torch.float64)
        self.num_timesteps = len(betas)
        self.alphas_cumprod = (1 - betas).cumprod(0)
        self.alphas_cumprod_prev = torch.cat((torch.ones(1, dtype=torch.float64), self.alphas_cumprod[:-1]))
        self.posterior_variance = betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        # beta-tilde is 0 at the first step; its log is taken at the second, as Improved DDPM does.
        second = self.posterior_variance[1:2] if len(betas) > 1 else betas[:1]
        self.posterior_log_variance = torch.cat((second, self.posterior_variance[1:])).log()
        self._tables = {
            "sqrt_alphas_cumprod": self.alphas_cumprod.sqrt(),
            "sqrt_one_minus_alphas_cumprod": (1 - self.alphas_cumprod).sqrt(),
            "sqrt_recip_alphas_cumprod": self.alphas_cumprod.rsqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / self.alphas_cumprod - 1).sqrt(),
            "posterior_coef_x_start": betas * self.alphas_cumprod_prev.sqrt() / (1 - self.alphas_cumprod),
            "posterior_coef_x_t": (1 - self.alphas_cumprod_prev) * (1 - betas).sqrt() / (1 - self.alphas_cumprod),
            "log_betas": betas.log(),
            "posterior_log_variance": self.posterior_log_variance,
        }
        self._on: dict[torch.device, dict[str, Tensor]] = {}

    def table(self, name: str, t: Tensor, ndim: int = 4) -> Tensor:
        """Values of one table at t, (B, 1, ...) float32 with ``ndim`` dimensions, on t's device."""
        if t.device not in self._on:
            self._on[t.device] = {key: value.to(t.device, torch.float32) for key, value in self._tables.items()}
        return self._on[t.device][name][t].reshape(-1, *[1] * (ndim - 1))

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Draw x_t given x_0: sqrt(abar) x_0 + sqrt(1 - abar) noise; t (B,) int64 index."""
        n = x_start.ndim
        return (
            self.table("sqrt_alphas_cumprod", t, n) * x_start
            + self.table("sqrt_one_minus_alphas_cumprod", t, n) * noise
        )

    def x_start_from_eps(self, x_t: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_0 = x_t / sqrt(abar) - sqrt(1/abar - 1) eps."""
        n = x_t.ndim
        return (
            self.table("sqrt_recip_alphas_cumprod", t, n) * x_t - self.table("sqrt_recipm1_alphas_cumprod", t, n) * eps
        )

    def eps_from_x_start(self, x_t: Tensor, t: Tensor, x_start: Tensor) -> Tensor:
        """The inverse of :meth:`x_start_from_eps`."""
        n = x_t.ndim
        return (self.table("sqrt_recip_alphas_cumprod", t, n) * x_t - x_start) / self.table(
            "sqrt_recipm1_alphas_cumprod", t, n
        )

    def posterior_mean(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0)."""
        n = x_t.ndim
        return self.table("posterior_coef_x_start", t, n) * x_start + self.table("posterior_coef_x_t", t, n) * x_t

    def x_start_from_mean(self, x_t: Tensor, t: Tensor, mean: Tensor) -> Tensor:
        """x_0 for which ``mean`` is the posterior mean."""
        n = x_t.ndim
        return (mean - self.table("posterior_coef_x_t", t, n) * x_t) / self.table("posterior_coef_x_start", t, n)

    def learned_log_variance(self, v: Tensor, t: Tensor) -> Tensor:
        """Log variance from the network's v in [-1, 1]: interpolates log beta-tilde (-1) and log beta (+1)."""
        low, high = self.table("posterior_log_variance", t, v.ndim), self.table("log_betas", t, v.ndim)
        fraction = (v + 1) / 2
        return fraction * high + (1 - fraction) * low

    def respaced(self, timesteps: Sequence[int]) -> DiffusionProcess:
        """The process that visits only the given indices, ascending (Improved DDPM, section 4)."""
        kept = self.alphas_cumprod[torch.as_tensor(timesteps)]
        previous = torch.cat((torch.ones(1, dtype=torch.float64), kept[:-1]))
        return DiffusionProcess(1 - kept / previous)

    def level_bounds(self) -> Tensor:
        """(T+1,) float64 noise levels sqrt(alphas_cumprod), from 1 (clean) to the noisiest."""
        return torch.cat((torch.ones(1, dtype=torch.float64), self.alphas_cumprod)).sqrt()

    def draw_level(self, t: Tensor, uniform: Tensor) -> Tensor:
        """Continuous noise level (section 4.4; WaveGrad): uniform between the levels on either side of index t.

        Args:
            t: (B,) int64 index, uniform on 0 .. T-1.
            uniform: (B,) in [0, 1).

        Returns:
            (B,) float32 sqrt(alphas_cumprod), in (level of t, level of t-1].
        """
        bounds = self.level_bounds().to(t.device, torch.float32)
        return bounds[t] + (bounds[t + 1] - bounds[t]) * uniform


def q_sample_at_level(x_start: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """Noisy image at a continuous level sqrt(alphas_cumprod), (B,)."""
    a = level.reshape(-1, *[1] * (x_start.ndim - 1))
    return a * x_start + (1 - a * a).clamp_min(0).sqrt() * noise
