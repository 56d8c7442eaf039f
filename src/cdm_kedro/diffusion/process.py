"""The Gaussian forward process and its posterior (section 2.1)."""

import torch
from torch import Tensor


class DiffusionProcess:
    """Tables of a discrete forward process, in float64, and the formulas over them.

    Index t runs over 0 .. T-1; index 0 is the paper's t = 1. Tensors returned are float32, of the images' shape or
    broadcastable to it. In the formulas, abar is alphas_cumprod.

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

    def _tables_at(self, t: Tensor, ndim: int, *names: str) -> list[Tensor]:
        return [self.table(name, t, ndim) for name in names]

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Draw x_t ~ q(x_t | x_0), x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise; t (B,) int64 index."""
        a, b = self._tables_at(t, x_start.ndim, "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
        return a * x_start + b * noise

    def x_start_from_eps(self, x_t: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_0 = sqrt(1 / abar) x_t - sqrt(1 / abar - 1) eps."""
        a, b = self._tables_at(t, x_t.ndim, "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod")
        return a * x_t - b * eps

    def posterior_mean(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (DDPM, equation 7)."""
        a, b = self._tables_at(t, x_t.ndim, "posterior_coef_x_start", "posterior_coef_x_t")
        return a * x_start + b * x_t

    def learned_log_variance(self, v: Tensor, t: Tensor) -> Tensor:
        """Log of Sigma (section 2.1) from the network's v: log beta-tilde at v = -1, log beta at v = 1."""
        low, high = self._tables_at(t, v.ndim, "posterior_log_variance", "log_betas")
        share = (v + 1) / 2
        return share * high + (1 - share) * low

    def level_bounds(self) -> Tensor:
        """(T+1,) float64 noise levels sqrt(alphas_cumprod), from 1 (clean) to the noisiest."""
        return torch.cat((torch.ones(1, dtype=torch.float64), self.alphas_cumprod)).sqrt()

    def draw_level(self, t: Tensor, uniform: Tensor) -> Tensor:
        """Continuous noise level (section 4.4; WaveGrad): uniform between the levels on either side of index t.

        Returns (B,) float32 sqrt(alphas_cumprod), in (level of t, level of t-1].

        Args:
            t: (B,) int64 index, uniform on 0 .. T-1.
            uniform: (B,) in [0, 1).
        """
        level = self.table("sqrt_alphas_cumprod", t, 1)
        cleaner = torch.where(t > 0, self.table("sqrt_alphas_cumprod", (t - 1).clamp_min(0), 1), 1.0)
        return cleaner + (level - cleaner) * uniform


def q_sample_at_level(x_start: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """Noisy image at a continuous level sqrt(alphas_cumprod), (B,)."""
    a = level.reshape(-1, *[1] * (x_start.ndim - 1))
    return a * x_start + (1 - a * a).clamp_min(0).sqrt() * noise
