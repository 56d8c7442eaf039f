"""Conditioning augmentation of the low-resolution input: none, Gaussian, blur (section 3)."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_kedro.diffusion.process import DiffusionProcess


class Augmentation(Protocol):
    """What training and sampling ask of every augmentation. Randomness comes in, so that the caller owns it."""

    conditions_on_level: bool
    """Whether the network receives s."""

    def train(self, low_res: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Augment a training batch.

        Args:
            low_res: (B, 3, h, w) in [-1, 1].
            uniforms: (B, 2) in [0, 1).
            noise: (B, 3, h, w) standard normal.

        Returns:
            The augmented input, and (B,) float s or None.
        """
        ...

    def sample(self, low_res: Tensor, s: int, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Augment finished low-resolution samples (non-truncated, section 3.3).

        Args:
            low_res: (B, 3, h, w) in [-1, 1].
            s: steps of the low stage's forward process; 0 leaves the input clean.
            noise: (B, 3, h, w) standard normal; needed for s > 0.
        """
        ...


class NoConditioningAugmentation:
    """The input as it is."""

    conditions_on_level = False

    def train(self, low_res: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the input."""
        return low_res, None

    def sample(self, low_res: Tensor, s: int, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the input.

        Raises:
            ValueError: s > 0 for a model that never saw noise.
        """
        if s > 0:
            raise ValueError(
                f"s is {s}, but this model was trained without Gaussian conditioning augmentation; use s: 0"
            )
        return low_res, None


class GaussianConditioning:
    """z_s ~ q(z_s | z_0) of a forward process; the network receives s (sections 3.2, 3.3).

    Args:
        process: forward process in which s counts steps.
        s: fixed level, or None to train on s uniform over 0 .. ``max_s``.
        max_s: largest s of amortized training.
    """

    conditions_on_level = True

    def __init__(self, process: DiffusionProcess, s: int | None = None, max_s: int | None = None) -> None:
        self.process, self.s = process, s
        self.max_s = process.num_timesteps if max_s is None else max_s

    def _noised(self, low_res: Tensor, s: Tensor, noise: Tensor) -> Tensor:
        noisy = self.process.q_sample(low_res, (s - 1).clamp_min(0), noise)
        return torch.where((s > 0)[:, None, None, None], noisy, low_res)

    def train(self, low_res: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Noise each example to its own s."""
        if self.s is None:
            s = (uniforms[:, 0].double() * (self.max_s + 1)).long().clamp_max(self.max_s)
        else:
            s = torch.full((len(low_res),), self.s, device=low_res.device, dtype=torch.int64)
        return self._noised(low_res, s, noise), s.float()

    def sample(self, low_res: Tensor, s: int, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Noise finished samples to s."""
        level = torch.full((len(low_res),), s, device=low_res.device, dtype=torch.int64)
        if s == 0:
            return low_res, level.float()
        if noise is None:
            raise ValueError(f"s is {s}; noise is needed")
        return self._noised(low_res, level, noise), level.float()


class BlurConditioning:
    """Gaussian blur with a random width on a share of the training examples, none at inference (section 3.1).

    Args:
        sigma_min: smallest width in pixels of the low-resolution input.
        sigma_max: largest width.
        probability: share of examples that are blurred.
        kernel_size: odd.
    """

    conditions_on_level = False

    def __init__(self, sigma_min: float, sigma_max: float, probability: float = 0.5, kernel_size: int = 3) -> None:
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.probability, self.kernel_size = probability, kernel_size

    def train(self, low_res: Tensor, uniforms: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Blur each example with its own width."""
        sigma = self.sigma_min + (self.sigma_max - self.sigma_min) * uniforms[:, 1:2]
        blurred = gaussian_blur(low_res, sigma[:, 0], self.kernel_size)
        return torch.where((uniforms[:, 0] < self.probability)[:, None, None, None], blurred, low_res), None

    def sample(self, low_res: Tensor, s: int, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the input.

        Raises:
            ValueError: s > 0 for a model that never saw noise.
        """
        return NoConditioningAugmentation().sample(low_res, s, noise)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Separable normalized Gaussian blur with reflected borders, one width an example.

    Args:
        images: (B, C, H, W).
        sigma: (B,) widths in pixels.
        kernel_size: odd.
    """
    b, c, height, width = images.shape
    half = kernel_size // 2
    offsets = torch.arange(-half, half + 1, device=images.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None].clamp_min(math.sqrt(torch.finfo(torch.float32).tiny))) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).to(images.dtype).repeat_interleave(c, 0)
    padded = F.pad(images, (half, half, half, half), mode="reflect").reshape(
        1, b * c, height + 2 * half, width + 2 * half
    )
    blurred = F.conv2d(padded, weights[:, None, :, None], groups=b * c)
    return F.conv2d(blurred, weights[:, None, None, :], groups=b * c).reshape(b, c, height, width)
