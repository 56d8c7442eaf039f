"""The U-Net of DDPM, Improved DDPM, ADM and the cascade's super-resolution models (Appendix B).

Its preconditioned form is not the paper's; it is for small training budgets.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cdm_kedro.model.layers import (
    LEVEL_SCALE,
    Attention,
    Resample,
    ResBlock,
    ScalarEmbedding,
    group_norm,
    norm_act,
    zeros,
)
from cdm_kedro.params.model import GaussianAugmentation, ModelParams

_PIXEL_VARIANCE = 0.25  # of images in [-1, 1]; it only scales inputs and outputs, so a rough value serves

GEOMETRY = 4  # numbers that say how an image was moved (2), turned and zoomed


class UNet(nn.Module):
    """Predicts eps from a noisy image, and with learned variances the interpolation v.

    A super-resolution model sees its low-resolution input upsampled and concatenated to the noisy image (section 2.3),
    and the conditioning augmentation s of a Gaussian one as an embedding (section 3.2).

    Args:
        params: of the model; its ``unet`` and ``diffusion`` describe every setting.
        num_classes: of the data. A model with class dropout embeds one class more, "no class", which has this index.
    """

    def __init__(self, params: ModelParams, num_classes: int) -> None:
        super().__init__()
        unet, diffusion = params.unet, params.diffusion
        self.resolution, self.low_res = params.resolution, params.low is not None
        self.low_res_interpolation = unet.low_res_interpolation
        self.num_classes, self.class_dropout = num_classes, params.class_dropout > 0
        self.checkpointing = unet.checkpointing is True  # the trainer decides where it is "auto"

        channels, emb_dim = unet.channels, 4 * unet.channels
        continuous = diffusion.noise_conditioning == "continuous"
        self.noise_emb = ScalarEmbedding(channels, emb_dim, LEVEL_SCALE if continuous else diffusion.timestep_scale)
        augmented = isinstance(params.augmentation, GaussianAugmentation)
        self.aug_emb = ScalarEmbedding(channels, emb_dim) if augmented else None
        self.class_emb = nn.Embedding(num_classes + self.class_dropout, emb_dim) if unet.class_cond else None
        self.geometry_emb = nn.Linear(GEOMETRY, emb_dim, bias=False) if params.told_geometry else None

        scaled = unet.skip_scaling
        res_block = partial(
            ResBlock, emb_dim=emb_dim, dropout_rate=unet.dropout, scale_shift=unet.scale_shift_norm, skip_scaling=scaled
        )

        def attention(width: int) -> Attention:
            each = unet.num_head_channels
            return Attention(width, unet.num_heads if each is None else width // each, scaled)

        def block(inside: int, out: int, attends: bool) -> nn.ModuleList:
            return nn.ModuleList([res_block(inside, out), *([attention(out)] if attends else [])])

        def resample(width: int, direction: str) -> nn.Module:
            if unet.resblock_updown:
                return res_block(width, width, resample=direction, shortcut=unet.resblock_updown == "biggan")
            return Resample(width, up=direction == "up")

        # The order in which layers are made decides their random first weights.
        levels = [channels * mult for mult in unet.channel_mult]
        width, side = levels[0], params.resolution
        self.conv_in = nn.Conv2d(6 if self.low_res else 3, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips = [width]
        for level, out in enumerate(levels):
            for _ in range(unet.num_res_blocks):
                self.down.append(block(width, out, side in unet.attention_resolutions))
                width = out
                skips.append(width)
            if level < len(levels) - 1:
                self.down.append(nn.ModuleList([resample(width, "down")]))
                skips.append(width)
                side //= 2
        self.middle = block(width, width, unet.middle_attention)
        self.middle.append(res_block(width, width))
        for level, out in reversed(list(enumerate(levels))):
            for i in range(unet.num_res_blocks + 1):
                layers = block(width + skips.pop(), out, side in unet.attention_resolutions)
                width = out
                if level > 0 and i == unet.num_res_blocks:
                    layers.append(resample(width, "up"))
                    side *= 2
                self.up.append(layers)
        self.norm_out = group_norm(width)
        self.conv_out = zeros(nn.Conv2d(width, 6 if diffusion.learned_variances else 3, 3, padding=1))
        for number, module in enumerate(module for module in self.modules() if isinstance(module, ResBlock)):
            module.number = number

    def embed(
        self, noise_cond: Tensor, y: Tensor | None, aug_level: Tensor | None, geometry: Tensor | None = None
    ) -> Tensor:
        """Embed noise level, s, class and geometry: the sum of their embeddings after SiLU, (B, 4 * channels)."""
        emb = self.noise_emb(noise_cond)
        if (aug_level is None) != (self.aug_emb is None):
            raise ValueError("aug_level must be given exactly when the model was built with Gaussian augmentation")
        if self.aug_emb is not None and aug_level is not None:
            emb = emb + self.aug_emb(aug_level)
        if self.class_emb is not None:
            if y is None:
                if not self.class_dropout:
                    raise ValueError("a class-conditional model without class dropout needs y")
                y = torch.full(noise_cond.shape, self.num_classes, device=noise_cond.device, dtype=torch.int64)
            emb = emb + self.class_emb(y)
        if self.geometry_emb is not None and geometry is not None:
            emb = emb + self.geometry_emb(geometry)
        return F.silu(emb)

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
        """Evaluate the network.

        Returns (B, 3, H, W) eps, or (B, 6, H, W) eps then v. Raises ValueError if an input is missing that the model
        was built for, or one is given that it was not built for.

        Args:
            x: (B, 3, H, W) float noisy images, in the units of [-1, 1] images.
            noise_cond: (B,) float, the index t in 0 .. T-1, or sqrt(alphas_cumprod) in (0, 1) (section 4.4).
            y: (B,) int64 classes; None means "no class" where class dropout was on.
            low_res: (B, 3, h, w) float in [-1, 1], which is upsampled here.
            aug_level: (B,) float, s in steps of the low model's forward process.
            geometry: (B, 4) float, how images were moved (:func:`cdm_kedro.training.crops.move`); None is not at all.
            dropout_keys: (B,) int32 of :func:`cdm_kedro.model.layers.dropout_keys`; None leaves dropout to PyTorch.
        """
        if (low_res is None) == self.low_res:
            raise ValueError("a super-resolution model needs low_res, and a base model has none")
        low, how = None, self.low_res_interpolation
        if low_res is not None:
            low = F.interpolate(low_res, x.shape[-2:], mode=how, align_corners=False)
        emb = self.embed(noise_cond, y, aug_level, geometry)
        return self.predict(x, low, noise_cond, aug_level, emb, dropout_keys)

    def predict(
        self, x: Tensor, low: Tensor | None, noise_cond: Tensor, aug_level: Tensor | None, *inputs: Tensor | None
    ) -> Tensor:
        """Evaluate with the low-resolution input upsampled; ``inputs`` are embedding and keys of :meth:`network`."""
        return self.network(x if low is None else torch.cat((x, low.to(x.dtype)), dim=1), *inputs)

    def network(self, x: Tensor, emb: Tensor | None, dropout_keys: Tensor | None = None) -> Tensor:
        """Evaluate on the concatenated input (B, 3 or 6, H, W) and the embedding (B, 4 * channels)."""
        h = self.conv_in(x)
        skips = [h]
        for layers in self.down:
            h = self._run(layers, h, emb, dropout_keys)
            skips.append(h)
        h = self._run(self.middle, h, emb, dropout_keys)
        for layers in self.up:
            h = self._run(layers, torch.cat((h, skips.pop()), dim=1), emb, dropout_keys)
        return self.conv_out(norm_act(self.norm_out, h))

    def _run(self, layers: nn.ModuleList, h: Tensor, *inputs: Tensor | None) -> Tensor:
        for layer in layers:
            if self.checkpointing and torch.is_grad_enabled():
                h = checkpoint(layer, h, *inputs, use_reentrant=False)
            else:
                h = layer(h, *inputs)
        return h


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

    def predict(
        self, x: Tensor, low: Tensor | None, noise_cond: Tensor, aug_level: Tensor | None, *inputs: Tensor | None
    ) -> Tensor:
        """Compute the formulas above."""
        a, gain, sigma, sigma_data, total = self._scales(noise_cond, aug_level)
        if low is None:
            seen = shown = x / total
        else:
            low = gain * low
            seen = (x - a * low) / total
            shown = torch.cat((seen, low), dim=1)
        out = self.network(shown, *inputs).float()
        eps = sigma / total * seen + sigma_data / total * out[:, :3]
        return torch.cat((eps, out[:, 3:]), dim=1) if out.shape[1] > 3 else eps
