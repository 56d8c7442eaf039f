"""Conditioning augmentation: what happens to the low-resolution input of a super-resolution model (section 3).

z_0 is a low-resolution image, (B, 3, h, w) in [-1, 1], and z_s is that image after s steps of the low model's forward
process. The functions are the paper's three kinds; the classes say how one model is trained and sampled.
"""

import math
from collections.abc import Callable, Container, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_kedro.diffusion.process import DiffusionProcess


def blurred(
    z_0: Tensor, uniforms: Tensor, sigma_min: float, sigma_max: float, probability: float, kernel_size: int
) -> Tensor:
    """Blurring augmentation in training (section 3.1): a Gaussian filter of random width on a share of the examples.

    Args:
        z_0: (B, 3, h, w).
        uniforms: (B, 2) in [0, 1): whether an example is blurred, and how widely.
        sigma_min: smallest width of the filter, in pixels of ``z_0``; ``sigma_max`` is the largest.
        probability: share of the examples that are blurred.
        kernel_size: side of the filter in pixels, odd.
    """
    sigma = sigma_min + (sigma_max - sigma_min) * uniforms[:, 1]
    chosen = (uniforms[:, 0] < probability)[:, None, None, None]
    return torch.where(chosen, gaussian_blur(z_0, sigma, kernel_size), z_0)


def truncated(
    reverse: Callable[[Callable[[int, Tensor], None]], Tensor], timesteps: Sequence[int], stops: Container[int]
) -> dict[int, Tensor]:
    """Truncated augmentation in sampling (section 3.2): stop the low model's reverse process at s.

    What is left there is z_s ~ p(z_s), the integral of p(z_{s:T}) over z_{s+1:T} (equation 2). The process goes on to
    z_0 all the same, because the low model's finished samples are a result of their own. Returns s to z_s, (B, 3, h, w)
    float32, with z_0 under 0.

    Args:
        reverse: samples the low model, calls the function that it is given with the number of every step and the
            state before that step, and returns z_0.
        timesteps: index t that the state before each step has.
        stops: values of s above 0 whose z_s is wanted.
    """
    z: dict[int, Tensor] = {}

    def keep(step: int, state: Tensor) -> None:
        s = timesteps[step] + 1
        if s in stops:
            z[s] = state.clone()

    z[0] = reverse(keep)
    return z


def non_truncated(z_0: Tensor, s: Tensor, noise: Tensor, process: DiffusionProcess) -> Tensor:
    """Non-truncated augmentation (section 3.3): take finished z_0, and corrupt it to z'_s ~ q(z_s | z_0).

    On images of the training set, it is also what both kinds train on (section 3.2).

    Args:
        z_0: (B, 3, h, w).
        s: (B,) int64 number of forward steps; 0 leaves an example clean.
        noise: (B, 3, h, w) standard normal.
        process: forward process of the low model.
    """
    z_s = process.q_sample(z_0, (s - 1).clamp_min(0), noise)
    return torch.where((s > 0)[:, None, None, None], z_s, z_0)


class Augmentation:
    """How the input of one model is augmented: not at all, in this class. Randomness comes in: the caller owns it."""

    def train(self, z_0: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Augment (B, 3, h, w) training images by (B, 2) uniforms in [0, 1) and standard normal noise of their shape.

        Returns the augmented input, and (B,) float s where the network receives it.
        """
        return z_0, None

    def sample(self, z_0: Tensor, s: int, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Augment finished samples to s as :func:`non_truncated` does; returns the same as :meth:`train`.

        Raises ValueError if s > 0 for a model that never saw noise, or s > 0 without noise.
        """
        if s > 0:
            raise ValueError(
                f"s is {s}, but this model was trained without Gaussian conditioning augmentation; use s: 0"
            )
        return z_0, None


class BlurConditioning(Augmentation):
    """Training on :func:`blurred` input, with the numbers described there, and sampling on the input as it is."""

    def __init__(self, sigma_min: float, sigma_max: float, probability: float = 0.5, kernel_size: int = 3) -> None:
        self.numbers = sigma_min, sigma_max, probability, kernel_size

    def train(self, z_0: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Blur a share of the examples, each with its own width."""
        return blurred(z_0, uniforms, *self.numbers), None


class GaussianConditioning(Augmentation):
    """Training on z_s with s given to the network, for truncated and non-truncated sampling (sections 3.2, 3.3).

    Args:
        process: forward process of the low model, which s counts the steps of.
        s: the one level to train on, or None to train on s uniform over 0 .. ``max_s``.
        max_s: largest s of amortized training; None is all of the process.
    """

    def __init__(self, process: DiffusionProcess, s: int | None = None, max_s: int | None = None) -> None:
        self.process, self.s = process, s
        self.max_s = process.num_timesteps if max_s is None else max_s

    def train(self, z_0: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Noise each example to its own s."""
        if self.s is None:
            s = (uniforms[:, 0].double() * (self.max_s + 1)).long().clamp_max(self.max_s)
        else:
            s = torch.full((len(z_0),), self.s, device=z_0.device)
        return non_truncated(z_0, s, noise, self.process), s.float()

    def sample(self, z_0: Tensor, s: int, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Noise finished samples to s."""
        level = torch.full((len(z_0),), s, device=z_0.device)
        if s == 0:
            return z_0, level.float()
        if noise is None:
            raise ValueError(f"s is {s}; noise is needed")
        return non_truncated(z_0, level, noise, self.process), level.float()


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur (B, C, H, W) images by separable Gaussians of odd size and (B,) widths in pixels, with reflected borders."""
    b, c, height, width = images.shape
    half = kernel_size // 2
    offsets = torch.arange(-half, half + 1, device=images.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None].clamp_min(math.sqrt(torch.finfo(torch.float32).tiny))) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).to(images.dtype).repeat_interleave(c, 0)
    padded = F.pad(images, (half,) * 4, mode="reflect").reshape(1, b * c, height + 2 * half, width + 2 * half)
    rows = F.conv2d(padded, weights[:, None, :, None], groups=b * c)
    return F.conv2d(rows, weights[:, None, None, :], groups=b * c).reshape(b, c, height, width)
