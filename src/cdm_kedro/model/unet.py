"""The U-Net of DDPM, Improved DDPM, ADM and the cascade's super-resolution models (Appendix B)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cdm_kedro.model.embeddings import LEVEL_SCALE, ScalarEmbedding
from cdm_kedro.model.layers import Attention, Resample, ResBlock, group_norm, norm_act, zeros


class UNet(nn.Module):
    """Predicts eps (and, with learned variances, the interpolation v) from a noisy image.

    Args:
        resolution: side of the images in pixels.
        channels: base channel count.
        channel_mult: multiplier at each level, from full resolution down.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        attention_resolutions: sides of the feature maps, in pixels, with self-attention.
        num_heads: attention heads; ignored where ``num_head_channels`` is given.
        num_head_channels: channels of one head (ADM).
        middle_attention: self-attention at the lowest resolution, as in DDPM.
        dropout: in the residual blocks.
        num_classes: None for an unconditional model.
        class_dropout: keep one embedding more, index ``num_classes``, for "no class" (classifier-free guidance).
        scale_shift_norm: FiLM instead of addition of the embedding.
        resblock_updown: resample in residual blocks (ADM) instead of plain layers.
        low_res: concatenate an upsampled low-resolution image to the input (section 2.3).
        low_res_interpolation: "bilinear" or "bicubic".
        aug_conditioning: embed the conditioning augmentation level s (section 3.2).
        learned_variances: six output channels, eps then v.
        noise_conditioning: "timestep" embeds the index t; "continuous" embeds sqrt(alphas_cumprod) (section 4.4).
        timestep_scale: factor on t before its embedding (Improved DDPM's unconditional models use 1000 / T).
        checkpointing: recompute activations of every block in the backward pass.
    """

    def __init__(
        self,
        *,
        resolution: int,
        channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
        attention_resolutions: Sequence[int] = (),
        num_heads: int = 1,
        num_head_channels: int | None = None,
        middle_attention: bool = True,
        dropout: float = 0.0,
        num_classes: int | None = None,
        class_dropout: bool = False,
        scale_shift_norm: bool = True,
        resblock_updown: bool = False,
        low_res: bool = False,
        low_res_interpolation: str = "bilinear",
        aug_conditioning: bool = False,
        learned_variances: bool = False,
        noise_conditioning: str = "timestep",
        timestep_scale: float = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.resolution, self.num_classes, self.class_dropout = resolution, num_classes, class_dropout
        self.low_res, self.low_res_interpolation = low_res, low_res_interpolation
        self.checkpointing = checkpointing

        emb_dim = 4 * channels
        scale = LEVEL_SCALE if noise_conditioning == "continuous" else timestep_scale
        self.noise_emb = ScalarEmbedding(channels, emb_dim, scale)
        self.aug_emb = ScalarEmbedding(channels, emb_dim) if aug_conditioning else None
        self.class_emb = None if num_classes is None else nn.Embedding(num_classes + class_dropout, emb_dim)

        def block(inside: int, out: int, side: int) -> nn.ModuleList:
            layers: list[nn.Module] = [ResBlock(inside, out, emb_dim, dropout, scale_shift_norm)]
            if side in attention_resolutions:
                layers.append(attention(out))
            return nn.ModuleList(layers)

        def attention(width: int) -> Attention:
            return Attention(width, num_heads if num_head_channels is None else width // num_head_channels)

        def resample(width: int, direction: str) -> nn.Module:
            if resblock_updown:
                return ResBlock(width, width, emb_dim, dropout, scale_shift_norm, direction)
            return Resample(width, up=direction == "up")

        width = channels * channel_mult[0]
        self.conv_in = nn.Conv2d(6 if low_res else 3, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, side = [width], resolution
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                self.down.append(block(width, channels * mult, side))
                width = channels * mult
                skips.append(width)
            if level < len(channel_mult) - 1:
                self.down.append(nn.ModuleList([resample(width, "down")]))
                skips.append(width)
                side //= 2
        self.middle = nn.ModuleList(
            [
                ResBlock(width, width, emb_dim, dropout, scale_shift_norm),
                *([attention(width)] if middle_attention else []),
                ResBlock(width, width, emb_dim, dropout, scale_shift_norm),
            ]
        )
        for level, mult in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                layers = block(width + skips.pop(), channels * mult, side)
                width = channels * mult
                if level > 0 and i == num_res_blocks:
                    layers.append(resample(width, "up"))
                    side *= 2
                self.up.append(layers)
        self.norm_out = group_norm(width)
        self.conv_out = zeros(nn.Conv2d(width, 6 if learned_variances else 3, 3, padding=1))

    def embed(self, noise_cond: Tensor, y: Tensor | None, aug_level: Tensor | None) -> Tensor:
        """Sum of the embeddings, after SiLU: (B, 4 * channels)."""
        emb = self.noise_emb(noise_cond)
        if (aug_level is None) != (self.aug_emb is None):
            raise ValueError("aug_level must be given exactly when the model was built with aug_conditioning")
        if self.aug_emb is not None and aug_level is not None:
            emb = emb + self.aug_emb(aug_level)
        if self.class_emb is not None:
            if y is None:
                if not self.class_dropout:
                    raise ValueError("a class-conditional model without class dropout needs y")
                assert self.num_classes is not None
                y = torch.full(noise_cond.shape, self.num_classes, device=noise_cond.device, dtype=torch.int64)
            emb = emb + self.class_emb(y)
        return F.silu(emb)

    def forward(
        self,
        x: Tensor,
        noise_cond: Tensor,
        y: Tensor | None = None,
        low_res: Tensor | None = None,
        aug_level: Tensor | None = None,
    ) -> Tensor:
        """Evaluate the network.

        Args:
            x: (B, 3, H, W) float noisy images, in the units of [-1, 1] images.
            noise_cond: (B,) float, index t in 0 .. T-1, or sqrt(alphas_cumprod) in (0, 1).
            y: (B,) int64 classes; None means "no class" where class dropout was on.
            low_res: (B, 3, h, w) float in [-1, 1], upsampled here.
            aug_level: (B,) float, s in steps of the low stage's forward process.

        Returns:
            (B, 3, H, W) eps, or (B, 6, H, W) eps then v.
        """
        if (low_res is None) == self.low_res:
            raise ValueError("low_res must be given exactly when the model was built with low_res")
        emb = self.embed(noise_cond, y, aug_level)
        if low_res is not None:
            low = F.interpolate(low_res, x.shape[-2:], mode=self.low_res_interpolation, align_corners=False)
            x = torch.cat((x, low.to(x.dtype)), dim=1)
        return self.network(x, emb)

    def network(self, x: Tensor, emb: Tensor) -> Tensor:
        """Evaluate on the concatenated input (B, 3 or 6, H, W) and the embedding (B, 4 * channels)."""
        h = self.conv_in(x)
        skips = [h]
        for layers in self.down:
            h = self._run(layers, h, emb)
            skips.append(h)
        h = self._run(self.middle, h, emb)
        for layers in self.up:
            h = self._run(layers, torch.cat((h, skips.pop()), dim=1), emb)
        return self.conv_out(norm_act(self.norm_out, h))

    def _run(self, layers: nn.ModuleList, h: Tensor, emb: Tensor) -> Tensor:
        for layer in layers:
            if self.checkpointing and torch.is_grad_enabled():
                h = checkpoint(layer, h, emb, use_reentrant=False)
            else:
                h = layer(h, emb)
        return h
