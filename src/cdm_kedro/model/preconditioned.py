"""A U-Net that starts from the best linear guess; not the paper's, for small training budgets."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cdm_kedro.model.unet import UNet

_PIXEL_VARIANCE = 0.25  # of images in [-1, 1]; only scales inputs and outputs, so a rough value serves


class PreconditionedUNet(UNet):
    """Corrects E[eps | x_t, low_res] of a linear Gaussian model instead of predicting eps from nothing.

    The network sees what x_t holds beyond the upsampled input, in units of its standard deviation, and its output
    counts in units of the linear estimate's error; with :meth:`loss_weight` every level then trains alike. This is
    Karras et al.'s (2022) preconditioning with the upsampled input as the prior mean; a base model's is 0, as theirs.

    Args:
        detail_std: standard deviation of images around their upsampled inputs, in [-1, 1] units; of a base model, of
            the images themselves.
        levels: (T,) sqrt(alphas_cumprod) where ``noise_cond`` is an index; None where it is the level itself.
        aug_levels: (S + 1,) sqrt(alphas_cumprod) of z_s, 1 at s = 0, where ``aug_level`` is given.
        **unet: of :class:`UNet`.
    """

    def __init__(self, *, detail_std: float, levels: Tensor | None, aug_levels: Tensor | None, **unet: Any) -> None:
        super().__init__(**unet)
        self.detail_std = detail_std
        self.register_buffer("levels", None if levels is None else levels.float(), persistent=False)
        self.register_buffer("aug_levels", None if aug_levels is None else aug_levels.float(), persistent=False)
        self.levels: Tensor | None
        self.aug_levels: Tensor | None

    def _scales(self, noise_cond: Tensor, aug_level: Tensor | None) -> tuple[Tensor, ...]:
        """(B, 1, 1, 1) each: level a, gain of low_res, standard deviations of noise, of scaled detail, of their sum."""
        a = noise_cond if self.levels is None else self.levels[noise_cond.long()]
        a = a.float()[:, None, None, None]
        detail, gain = torch.full_like(a, self.detail_std**2), torch.ones_like(a)
        if aug_level is not None and self.aug_levels is not None:
            kept = self.aug_levels[aug_level.long()].square()[:, None, None, None]
            noise_of_low = (1 - kept) / kept
            shrink = _PIXEL_VARIANCE / (_PIXEL_VARIANCE + noise_of_low)
            detail, gain = detail + shrink * noise_of_low, shrink / kept.sqrt()
        noise, detail = (1 - a * a).clamp_min(0), a * a * detail
        return a, gain, noise.sqrt(), detail.sqrt(), (noise + detail).sqrt()

    def loss_weight(self, noise_cond: Tensor, aug_level: Tensor | None) -> Tensor:
        """Weight of L_simple, (B,), with which the output's own error counts alike at every level."""
        *_, detail, total = self._scales(noise_cond, aug_level)
        return (total / detail).square().flatten()

    def forward(
        self,
        x: Tensor,
        noise_cond: Tensor,
        y: Tensor | None = None,
        low_res: Tensor | None = None,
        aug_level: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`UNet.forward`."""
        if (low_res is None) == self.low_res:
            raise ValueError("a super-resolution model needs low_res, and a base model has none")
        emb = self.embed(noise_cond, y, aug_level)
        a, gain, noise, detail, total = self._scales(noise_cond, aug_level)
        if low_res is None:
            seen = residual = x / total
        else:
            low = gain * F.interpolate(low_res, x.shape[-2:], mode=self.low_res_interpolation, align_corners=False)
            residual = (x - a * low) / total
            seen = torch.cat((residual, low), dim=1)
        out = self.network(seen, emb).float()
        eps = noise / total * residual + detail / total * out[:, :3]
        return torch.cat((eps, out[:, 3:]), dim=1) if out.shape[1] > 3 else eps
