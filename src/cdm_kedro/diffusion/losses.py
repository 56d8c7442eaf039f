"""What training minimizes: L_simple, one term of the variational bound, and their hybrid (section 2.1)."""

import math

import torch
from torch import Tensor

from cdm_kedro.diffusion.process import DiffusionProcess


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL divergence of two diagonal Gaussians, elementwise, in nats."""
    # Autograd sums gradients in the order of the terms, so another order changes weights in their last bits.
    of_variances = log_variance2 - log_variance1 - 1 + torch.exp(log_variance1 - log_variance2)
    return 0.5 * (of_variances + (mean1 - mean2) ** 2 * torch.exp(-log_variance2))


def discretized_gaussian_log_likelihood(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log probability of 8-bit pixels under a Gaussian integrated over each pixel's bin (DDPM, equation 13).

    Returns nats, elementwise.

    Args:
        x: pixels in [-1, 1], multiples of 1/127.5; the outermost bins reach to infinity.
    """
    inverse = torch.exp(-log_std)
    upper, lower = (x - mean + 1 / 255) * inverse, (x - mean - 1 / 255) * inverse
    # Log-space differences keep the tails exact: on the far side both CDFs round to 1.
    flip = lower > 0
    a, b = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    log_a, log_b = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    inside = log_b + torch.log(-torch.expm1((log_a - log_b).clamp_max(-1e-12)))
    first, last = torch.special.log_ndtr(upper), torch.special.log_ndtr(-lower)
    return torch.where(x < -0.999, first, torch.where(x > 0.999, last, inside))


def vlb_terms(
    process: DiffusionProcess, x_start: Tensor, x_t: Tensor, t: Tensor, mean: Tensor, log_variance: Tensor
) -> Tensor:
    """One term of equation 1 an example: KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), or -log p(x_0 | x_1) at t = 0.

    ``mean`` and ``log_variance`` are those of p. Returns (B,) bits per dimension.
    """
    true_mean = process.posterior_mean(x_start, x_t, t)
    true_log_variance = process.table("posterior_log_variance", t, x_t.ndim)
    kl = _mean(normal_kl(true_mean, true_log_variance.expand_as(mean), mean, log_variance))
    decoder = -_mean(discretized_gaussian_log_likelihood(x_start, mean, 0.5 * log_variance))
    return torch.where(t == 0, decoder, kl) / math.log(2)


def simple_loss(eps: Tensor, noise: Tensor) -> Tensor:
    """L_simple (section 2.1) an example, (B,): the mean squared error of eps."""
    return _mean((eps.float() - noise) ** 2)


def hybrid_loss(
    process: DiffusionProcess,
    output: Tensor,
    x_start: Tensor,
    x_t: Tensor,
    t: Tensor,
    noise: Tensor,
    vlb_weight: float = 1e-3,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """L_simple + vlb_weight * L_vlb, where L_vlb trains the variances only (Improved DDPM, equation 16).

    L_vlb is equation 1, a sum over T terms of which one is drawn, so that term counts T times. As in the code of
    Improved DDPM it is in bits per dimension. Returns loss, L_simple, and the drawn term of L_vlb in bits per
    dimension, (B,) each.

    Args:
        output: (B, 6, H, W) network output, eps then v.
        x_start: (B, 3, H, W) images in [-1, 1].
        x_t: (B, 3, H, W) noisy images.
        t: (B,) int64 index.
        noise: (B, 3, H, W) the noise in ``x_t``.
        weight: (B,) weights of L_simple; None is 1.
    """
    eps, v = output.float().chunk(2, dim=1)
    mse = simple_loss(eps, noise)
    with torch.no_grad():
        mean = process.posterior_mean(process.x_start_from_eps(x_t, t, eps), x_t, t)
    term = vlb_terms(process, x_start, x_t, t, mean, process.learned_log_variance(v, t))
    simple = mse if weight is None else weight * mse
    return simple + vlb_weight * process.num_timesteps * term, mse, term
