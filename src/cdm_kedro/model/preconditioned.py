"""The U-Net with Karras et al.'s preconditioning; not the paper's, for small training budgets."""

import torch
from torch import Tensor

from cdm_kedro.model.unet import UNet
from cdm_kedro.params.model import ModelParams

_PIXEL_VARIANCE = 0.25  # of images in [-1, 1]; it only scales inputs and outputs, so a rough value serves


class PreconditionedUNet(UNet):
    """Predicts eps as a linear Gaussian model would, plus a correction that the network learns.

    This is the preconditioning of Karras et al. (2022, section 5 and Table 1) with ``unet.detail_std`` as sigma_data.
    Theirs scales around 0. Here a super-resolution model's prior mean is the upsampled input, and sigma_data is the
    standard deviation of images around it. With x_t = a x_0 + sigma eps and a prior x_0 ~ N(low, sigma_data^2)::

        total^2 = sigma^2 + (a sigma_data)^2
        seen    = (x_t - a low) / total                            # c_in: unit variance
        eps     = sigma / total * seen                             # c_skip: the best linear estimate
                + a sigma_data / total * network(seen, low)        # c_out: in units of that estimate's error

    Args:
        params: of the model, with ``unet.detail_std``.
        num_classes: of the data.
        levels: (T,) levels a = sqrt(alphas_cumprod) where ``noise_cond`` is an index; None where it is the level.
        aug_levels: (S + 1,) levels of z_s, 1 at s = 0, for a model with Gaussian augmentation.
    """

    def __init__(self, params: ModelParams, num_classes: int, levels: Tensor | None, aug_levels: Tensor | None) -> None:
        super().__init__(params, num_classes)
        assert params.unet.detail_std is not None
        self.detail_std = params.unet.detail_std
        self.register_buffer("levels", None if levels is None else levels.float(), persistent=False)
        self.register_buffer("aug_levels", None if aug_levels is None else aug_levels.float(), persistent=False)
        self.levels: Tensor | None
        self.aug_levels: Tensor | None

    def _scales(self, noise_cond: Tensor, aug_level: Tensor | None) -> tuple[Tensor, ...]:
        """Scales of the formulas above, (B, 1, 1, 1) each: a, gain of the input, sigma, a sigma_data, total.

        An augmented input z_s is trusted less: its gain makes it the posterior mean of z_0 given z_s, whose variance
        adds to sigma_data^2.
        """
        a = noise_cond if self.levels is None else self.levels[noise_cond.long()]
        a = a.float()[:, None, None, None]
        sigma_data, gain = torch.full_like(a, self.detail_std**2), torch.ones_like(a)
        if aug_level is not None and self.aug_levels is not None:
            kept = self.aug_levels[aug_level.long()].square()[:, None, None, None]
            noise_of_low = (1 - kept) / kept
            shrink = _PIXEL_VARIANCE / (_PIXEL_VARIANCE + noise_of_low)
            sigma_data, gain = sigma_data + shrink * noise_of_low, shrink / kept.sqrt()
        noise, sigma_data = (1 - a * a).clamp_min(0), a * a * sigma_data
        return a, gain, noise.sqrt(), sigma_data.sqrt(), (noise + sigma_data).sqrt()

    def loss_weight(self, noise_cond: Tensor, aug_level: Tensor | None) -> Tensor:
        """Weight L_simple by 1 / c_out^2, (B,), so that the network's own error counts alike at every level."""
        *_, sigma_data, total = self._scales(noise_cond, aug_level)
        return (total / sigma_data).square().flatten()

    def forward(
        self,
        x: Tensor,
        noise_cond: Tensor,
        y: Tensor | None = None,
        low_res: Tensor | None = None,
        aug_level: Tensor | None = None,
        geometry: Tensor | None = None,
        dropout_keys: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`UNet.forward`."""
        low = self.upsampled(low_res, x)
        emb = self.embed(noise_cond, y, aug_level, geometry)
        a, gain, sigma, sigma_data, total = self._scales(noise_cond, aug_level)
        if low is None:
            seen = inputs = x / total
        else:
            low = gain * low
            seen = (x - a * low) / total
            inputs = torch.cat((seen, low), dim=1)
        out = self.network(inputs, emb, dropout_keys).float()
        eps = sigma / total * seen + sigma_data / total * out[:, :3]
        return torch.cat((eps, out[:, 3:]), dim=1) if out.shape[1] > 3 else eps
