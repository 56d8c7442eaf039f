"""The training algorithm: one batch of images in, one loss an example out (sections 2.1, 2.2 and 3)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from cdm_kedro.diffusion.augmentation import Augmentation
from cdm_kedro.diffusion.losses import hybrid_loss, simple_loss
from cdm_kedro.diffusion.pixels import to_range
from cdm_kedro.diffusion.process import DiffusionProcess, q_sample_at_level


class Randomness(NamedTuple):
    """All that is random about one batch; every field but the noise is uniform in [0, 1).

    Attributes:
        t: (B,) which step of the forward process.
        level: (B,) where between two steps, for continuous noise conditioning.
        augmentation: (B, 2) how the low-resolution input is augmented.
        dropout: (B,) which examples lose their class.
        noise: (B, 3, H, W) standard normal, the noise in x_t.
        low_noise: (B, 3, h, w) standard normal, the noise in z_s; None for a base model.
    """

    t: Tensor
    level: Tensor
    augmentation: Tensor
    dropout: Tensor
    noise: Tensor
    low_noise: Tensor | None = None

    @classmethod
    def draw(cls, images: Tensor, low_res: Tensor | None = None) -> "Randomness":
        """Draw from PyTorch's own generator."""
        uniforms = torch.rand(len(images), 5, device=images.device)
        noise = torch.randn(images.shape, device=images.device)
        low_noise = None if low_res is None else torch.randn(low_res.shape, device=low_res.device)
        return cls(uniforms[:, 0], uniforms[:, 1], uniforms[:, 2:4], uniforms[:, 4], noise, low_noise)


class Losses(NamedTuple):
    """(B,) each: what training minimizes, L_simple alone and unweighted, and the int64 index t of each example."""

    total: Tensor
    simple: Tensor
    t: Tensor


@dataclass
class Objective:
    """The training algorithm of one batch. Nothing in it waits for the device.

    Attributes:
        augmentation: of the low-resolution input (section 3).
        continuous: whether the network is conditioned on sqrt(alphas_cumprod) instead of t (section 4.4).
        vlb_weight: weight of L_vlb where the network learns variances.
        class_dropout: share of the examples whose class becomes ``num_classes``, which stands for "no class".
        num_classes: number of classes; needed for ``class_dropout`` alone.
        weight: gives (B,) weights of L_simple for the noise condition and s; None is 1, as in the paper.
    """

    process: DiffusionProcess
    augmentation: Augmentation = field(default_factory=Augmentation)
    continuous: bool = False
    vlb_weight: float = 1e-3
    class_dropout: float = 0.0
    num_classes: int = 0
    weight: Callable[[Tensor, Tensor | None], Tensor] | None = None

    def __call__(
        self,
        network: Callable[..., Tensor],
        images: Tensor,
        labels: Tensor | None = None,
        low_res: Tensor | None = None,
        random: Randomness | None = None,
    ) -> Losses:
        """Noise the images, have the network predict the noise, and compare.

        Args:
            network: called as ``network(x_t, condition, labels, z, s)``; see :meth:`cdm_kedro.model.unet.UNet.forward`.
            images: (B, 3, H, W) uint8, or float in [-1, 1].
            labels: (B,) int64 classes; None for an unconditional network.
            low_res: (B, 3, h, w) low-resolution images of a super-resolution model, like ``images``.
            random: the batch's random numbers; None draws them.
        """
        random = random or Randomness.draw(images, low_res)
        x_0, z, s = _in_range(images), None, None
        if low_res is not None and random.low_noise is not None:
            z, s = self.augmentation.train(_in_range(low_res), random.augmentation, random.low_noise)
        if labels is not None and self.class_dropout > 0:
            labels = torch.where(random.dropout < self.class_dropout, self.num_classes, labels)
        steps = self.process.num_timesteps
        t = (random.t * steps).long().clamp_max(steps - 1)
        if self.continuous:
            condition = self.process.draw_level(t, random.level)
            x_t = q_sample_at_level(x_0, condition, random.noise)
        else:
            condition, x_t = t.float(), self.process.q_sample(x_0, t, random.noise)
        output = network(x_t, condition, labels, z, s)
        weight = None if self.weight is None else self.weight(condition, s)
        if output.shape[1] == 2 * x_0.shape[1]:  # eps, and the variances' v
            total, simple, _ = hybrid_loss(self.process, output, x_0, x_t, t, random.noise, self.vlb_weight, weight)
            return Losses(total, simple, t)
        simple = simple_loss(output, random.noise)
        return Losses(simple if weight is None else weight * simple, simple, t)


def _in_range(images: Tensor) -> Tensor:
    return to_range(images) if images.dtype == torch.uint8 else images
