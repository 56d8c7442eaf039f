"""ResNet (He et al. 2016). A bottleneck strides in its 3 x 3 convolution, as in all later work."""

import torch.nn.functional as F
from torch import Tensor, nn

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class _Block(nn.Module):
    """Residual block of two 3 x 3 convolutions; as a bottleneck of 1 x 1, 3 x 3 and 1 x 1 with four times the width."""

    def __init__(self, inside: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = channels * 4 if bottleneck else channels
        plan = [(inside, channels, 3, stride), (channels, channels, 3, 1)]
        if bottleneck:
            plan = [(inside, channels, 1, 1), (channels, channels, 3, stride), (channels, out, 1, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2, bias=False) for a, b, k, s in plan)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _, _ in plan)
        nn.init.zeros_(self.norms[-1].weight)  # every block begins as its shortcut (Goyal et al. 2017)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != out:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            h = norm(conv(h))
            if number + 1 < len(self.convs):
                h = F.relu(h)
        return F.relu(h + self.shortcut(x))


class ResNet(nn.Module):
    """Classifier of (B, 3, H, W) float images; gives (B, num_classes) logits.

    ``depth``: 18, 34, 50 or 101. ``num_classes``: of the data. ``resolution``: H and W. From 128 pixels the stem is
    the published one, a 7 x 7 convolution and a max pooling, which leave a quarter of the size. Smaller images have a
    3 x 3 convolution, which halves 64 pixels and keeps less. ``width``: channels of the first blocks.
    """

    def __init__(self, depth: int, num_classes: int, resolution: int, width: int = 64) -> None:
        super().__init__()
        large = resolution >= 128
        kernel, stride = (7, 2) if large else (3, 2 if resolution >= 64 else 1)
        self.stem = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.pool: nn.Module = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        bottleneck = depth >= 50
        blocks, inside = [], width
        for stage, count in enumerate(_BLOCKS[depth]):
            channels = width * 2**stage
            for number in range(count):
                blocks.append(_Block(inside, channels, 2 if stage and not number else 1, bottleneck))
                inside = channels * 4 if bottleneck else channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inside, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Average the last feature maps: (B, D)."""
        x = self.pool(F.relu(self.norm(self.stem(x))))
        return self.blocks(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        return self.head(self.features(x))
