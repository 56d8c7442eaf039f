"""DINOv2 (Oquab et al. 2023): vision transformers with patches of 14 pixels, trained without labels.

The user provides their weights, which Meta publishes (see ``SOURCE``). Fréchet distances between their features follow
human judgement better than those between Inception's (Stein et al. 2023).
"""

from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor, load_state, resize_bicubic
from cdm_kedro.files.hashes import sha256

PATCH = 14
_TRAINED_GRID = 37  # 518 pixels
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SOURCE = "https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth"

SIZES = {"dinov2_vits14": (384, 12, 6), "dinov2_vitb14": (768, 12, 12), "dinov2_vitl14": (1024, 24, 16)}
"""Width, depth and heads of each network."""


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(width, 4 * width), act=nn.GELU(), fc2=nn.Linear(4 * width, width))
        )
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.norm1(x)) * self.ls1["gamma"]
        return x + self.mlp(self.norm2(x)) * self.ls2["gamma"]

    def _attention(self, x: Tensor) -> Tensor:
        q, k, v = self.attn["qkv"](x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.attn["proj"](out.transpose(1, 2).flatten(2))


class DinoV2(nn.Module):
    """Maps (B, 3, H, W) float images in 0 .. 255 to the normalized class token (B, width); there are no logits.

    ``side``: side in pixels that images are resized to; divisible by 14.
    """

    def __init__(self, width: int, depth: int, heads: int, side: int = 224) -> None:
        super().__init__()
        if side % PATCH:
            raise ValueError(f"evaluate.input_side {side} is not divisible by DINOv2's patch of {PATCH}; use 224")
        self.side = side
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _TRAINED_GRID**2, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # unused here; the published files hold it
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)

    def positions(self) -> Tensor:
        """The learned 37 x 37 grid, resampled as the published code does it: (1, 1 + (side / 14)^2, width)."""
        grid = self.side // PATCH
        if grid == _TRAINED_GRID:
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        square = rest.reshape(1, _TRAINED_GRID, _TRAINED_GRID, -1).permute(0, 3, 1, 2)
        scale = (grid + 0.1) / _TRAINED_GRID  # the published code adds the tenth, which shifts the grid
        square = F.interpolate(square, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
        return torch.cat((first, square.permute(0, 2, 3, 1).flatten(1, 2)), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Evaluate."""
        mean, std = (x.new_tensor(v).view(3, 1, 1) for v in (_MEAN, _STD))
        x = (resize_bicubic(x, self.side) / 255 - mean) / std
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.positions()
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0], None


def dinov2(name: str, path: Path, side: int, device: torch.device) -> Extractor:
    """The class token of a DINOv2 backbone without registers.

    Raises CdmError if the file does not exist or holds other weights. ``side`` is that of :class:`DinoV2`.
    """
    source = SOURCE.format(name=name)
    if not path.is_file():
        raise CdmError(f"evaluate.weights: {path} does not exist; get it from {source}")
    width, depth, heads = SIZES[name]
    net = DinoV2(width, depth, heads, side)
    try:
        net.load_state_dict(load_state(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CdmError(f"evaluate.weights: {path} does not hold {name} ({reason:.200}); get it from {source}") from None
    net = net.to(device).eval().requires_grad_(False)
    words = f"bicubic with antialias to {side} px, ImageNet mean and deviation; normalized class token"
    label = name if side == 224 else f"{name}_{side}px"
    return Extractor(label, net, width, sha256(path), words, device, partial(dinov2, name, path, side))
