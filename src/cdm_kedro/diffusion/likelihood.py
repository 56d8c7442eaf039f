"""Bits per dimension: the bound of one model (equation 1) and of a truncated cascade (section 3.2, equation 3)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cdm_kedro.diffusion.losses import normal_kl, vlb_terms
from cdm_kedro.diffusion.process import DiffusionProcess

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) with t (B,) int64 to the network's output, conditioning already bound."""


def prior_bits(process: DiffusionProcess, x_start: Tensor) -> Tensor:
    """L_T of equation 1: KL(q(x_T | x_0) || N(0, I)) in bits per dimension, (B,)."""
    t = torch.full((len(x_start),), process.num_timesteps - 1, dtype=torch.int64, device=x_start.device)
    mean = process.table("sqrt_alphas_cumprod", t, x_start.ndim) * x_start
    log_variance = 2 * process.table("sqrt_one_minus_alphas_cumprod", t, x_start.ndim).log()
    kl = normal_kl(mean, log_variance.expand_as(mean), torch.zeros_like(mean), torch.zeros_like(mean))
    return kl.flatten(1).mean(1) / math.log(2)


def term_bits(
    model: Denoiser, process: DiffusionProcess, x_start: Tensor, t: Tensor, noise: Tensor, clip_x_start: bool = True
) -> Tensor:
    """One term of equation 1's sum an example, or its last one, the decoder's, at index 0.

    Returns (B,) bits per dimension.

    Args:
        model: six output channels (eps, v) mean learned variances; three mean the fixed beta-tilde.
        process: forward process.
        x_start: (B, 3, H, W) 8-bit images in [-1, 1].
        t: (B,) int64 index.
        noise: (B, 3, H, W) standard normal.
        clip_x_start: whether the image that the model predicts is clamped to [-1, 1], as in sampling.
    """
    x_t = process.q_sample(x_start, t, noise)
    output = model(x_t, t).float()
    eps, v = output.chunk(2, dim=1) if output.shape[1] == 2 * x_start.shape[1] else (output, None)
    predicted = process.x_start_from_eps(x_t, t, eps)
    if clip_x_start:
        predicted = predicted.clamp(-1, 1)
    mean = process.posterior_mean(predicted, x_t, t)
    if v is None:
        log_variance = process.table("posterior_log_variance", t, mean.ndim).expand_as(mean)
    else:
        log_variance = process.learned_log_variance(v, t)
    return vlb_terms(process, x_start, x_t, t, mean, log_variance)


def bound_bits(
    model: Denoiser,
    process: DiffusionProcess,
    x_start: Tensor,
    noise: Callable[[int], Tensor],
    uniforms: Tensor,
    first: int = 0,
    clip_x_start: bool = True,
) -> Tensor:
    """Unbiased estimate of L(x_0) (equation 1), a bound on -log2 p(x_0), or of its part from index ``first`` up.

    Returns (B,) bits per dimension of ``x_start``. Arguments that are not listed are those of :func:`term_bits`.

    Args:
        noise: standard normal tensor (B, 3, H, W) of the k-th term.
        uniforms: (K, B) in [0, 1): each image draws K indices, one from each of K equal strata; the decoder's term is
            always included. K = number of indices gives every term once.
        first: terms below this index are left out; 0 keeps the decoder.
    """
    total, lowest = prior_bits(process, x_start), first
    if first == 0:
        t = torch.zeros(len(x_start), dtype=torch.int64, device=x_start.device)
        total, lowest = total + term_bits(model, process, x_start, t, noise(len(uniforms)), clip_x_start), 1
    count = process.num_timesteps - lowest
    for k, u in enumerate(uniforms if count > 0 else ()):
        t = (lowest + (k + u.double()) * count / len(uniforms)).long().clamp_max(process.num_timesteps - 1)
        term = term_bits(model, process, x_start, t, noise(k), clip_x_start)
        total = total + term * (count / len(uniforms))
    return total


def truncated_cascade_bits(low_part: Tensor, high: Tensor, low_dims: int, dims: int) -> Tensor:
    """Equation 3: -log2 p(x_0) <= L_T(z_0) + sum_{t > s} L_{t-1}(z_0) + L(x_0 | z_s).

    Returns (B,) bits per dimension of x_0.

    Args:
        low_part: (B,) :func:`bound_bits` of the low model with ``first=s``, bits per dimension of z_0.
        high: (B,) :func:`bound_bits` of the high model conditioned on z_s, bits per dimension of x_0.
        low_dims: dimensions of z_0.
        dims: dimensions of x_0.
    """
    return low_part * (low_dims / dims) + high
