"""The Inception network of 2015-12-05, whose features define FID.

The user provides its weights: the PyTorch conversion of the original TensorFlow graph, with a 1008-way classifier.
pytorch-fid publishes it as pt_inception-2015-12-05-6726825d.pth, torch-fidelity as
weights-inception-2015-12-05-6726825d.pth; both hold the same tensors.
"""

from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdm_kedro.errors import CdmError
from cdm_kedro.evaluation.extractors.extractor import Extractor, load_state
from cdm_kedro.files.hashes import sha256

SHA256_PREFIX = "6726825d"
"""The first eight hexadecimal digits of the file's SHA-256, which both publishers put into its name."""

SOURCE = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth "
    "or https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)


class _Step(NamedTuple):
    name: str
    out: int
    kernel: tuple[int, int]
    stride: int = 1
    valid: bool = False  # no padding


_Branch = tuple[_Step | tuple[_Step, _Step], ...]  # a pair of steps runs side by side, concatenated


def _conv(inside: int, step: _Step) -> nn.Sequential:
    valid = step.valid or step.stride > 1
    padding = (0, 0) if valid else (step.kernel[0] // 2, step.kernel[1] // 2)
    conv = nn.Conv2d(inside, step.out, step.kernel, step.stride, padding, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(step.out, eps=1e-3), relu=nn.ReLU()))


class _Mixed(nn.Module):
    """Parallel branches whose outputs are concatenated; the last branch begins with a pooling."""

    def __init__(self, inside: int, branches: tuple[_Branch, ...], pool: str, pool_out: int | None) -> None:
        super().__init__()
        self.pool = pool
        self.branches = [[(step,) if isinstance(step, _Step) else step for step in branch] for branch in branches]
        for branch in self.branches:
            width = inside
            for sides in branch:
                for side in sides:
                    self.add_module(f"branch{side.name}", _conv(width, side))
                width = sum(side.out for side in sides)
        if pool_out is not None:
            self.branch_pool = _conv(inside, _Step("pool", pool_out, (1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        outs = []
        for branch in self.branches:
            h = x
            for sides in branch:
                h = torch.cat([self.get_submodule(f"branch{side.name}")(h) for side in sides], 1)
            outs.append(h)
        if self.pool == "max/2":
            return torch.cat([*outs, F.max_pool2d(x, 3, 2)], 1)
        # TensorFlow leaves the padding out of the mean.
        mean = self.pool == "avg"
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if mean else F.max_pool2d(x, 3, 1, 1)
        return torch.cat([*outs, self.branch_pool(pooled)], 1)


def _mixed_a(inside: int, pool_out: int) -> _Mixed:
    five = (_Step("5x5_1", 48, (1, 1)), _Step("5x5_2", 64, (5, 5)))
    double = (_Step("3x3dbl_1", 64, (1, 1)), _Step("3x3dbl_2", 96, (3, 3)), _Step("3x3dbl_3", 96, (3, 3)))
    return _Mixed(inside, ((_Step("1x1", 64, (1, 1)),), five, double), "avg", pool_out)


def _mixed_b(inside: int) -> _Mixed:
    double = (_Step("3x3dbl_1", 64, (1, 1)), _Step("3x3dbl_2", 96, (3, 3)), _Step("3x3dbl_3", 96, (3, 3), 2))
    return _Mixed(inside, ((_Step("3x3", 384, (3, 3), 2),), double), "max/2", None)


def _mixed_c(inside: int, c: int) -> _Mixed:
    seven = (_Step("7x7_1", c, (1, 1)), _Step("7x7_2", c, (1, 7)), _Step("7x7_3", 192, (7, 1)))
    kernels, outs = ((1, 1), (7, 1), (1, 7), (7, 1), (1, 7)), (c, c, c, c, 192)
    double = tuple(_Step(f"7x7dbl_{i + 1}", outs[i], kernels[i]) for i in range(5))
    return _Mixed(inside, ((_Step("1x1", 192, (1, 1)),), seven, double), "avg", 192)


def _mixed_d(inside: int) -> _Mixed:
    three = (_Step("3x3_1", 192, (1, 1)), _Step("3x3_2", 320, (3, 3), 2))
    kernels = ((1, 1), (1, 7), (7, 1), (3, 3))
    seven = tuple(_Step(f"7x7x3_{i + 1}", 192, kernels[i], 2 if i == 3 else 1) for i in range(4))
    return _Mixed(inside, (three, seven), "max/2", None)


def _mixed_e(inside: int, pool: str) -> _Mixed:
    three = (_Step("3x3_1", 384, (1, 1)), (_Step("3x3_2a", 384, (1, 3)), _Step("3x3_2b", 384, (3, 1))))
    ends = (_Step("3x3dbl_3a", 384, (1, 3)), _Step("3x3dbl_3b", 384, (3, 1)))
    double = (_Step("3x3dbl_1", 448, (1, 1)), _Step("3x3dbl_2", 384, (3, 3)), ends)
    return _Mixed(inside, ((_Step("1x1", 320, (1, 1)),), three, double), pool, 192)


class Inception2015(nn.Module):
    """(B, 3, H, W) float in 0 .. 255 to pool3 features (B, 2048) and logits without bias (B, 1008).

    The last block pools by maximum, as the 2015 graph does; the logits go without their bias, as the Inception score's
    reference evaluator computes them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _conv(3, _Step("", 32, (3, 3), 2))
        self.Conv2d_2a_3x3 = _conv(32, _Step("", 32, (3, 3), valid=True))
        self.Conv2d_2b_3x3 = _conv(32, _Step("", 64, (3, 3)))
        self.Conv2d_3b_1x1 = _conv(64, _Step("", 80, (1, 1)))
        self.Conv2d_4a_3x3 = _conv(80, _Step("", 192, (3, 3), valid=True))
        self.Mixed_5b = _mixed_a(192, 32)
        self.Mixed_5c = _mixed_a(256, 64)
        self.Mixed_5d = _mixed_a(288, 64)
        self.Mixed_6a = _mixed_b(288)
        self.Mixed_6b = _mixed_c(768, 128)
        self.Mixed_6c = _mixed_c(768, 160)
        self.Mixed_6d = _mixed_c(768, 160)
        self.Mixed_6e = _mixed_c(768, 192)
        self.Mixed_7a = _mixed_d(768)
        self.Mixed_7b = _mixed_e(1280, "avg")
        self.Mixed_7c = _mixed_e(2048, "max")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate."""
        x = (resize_like_tensorflow1(x, 299) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        features = x.mean((2, 3))
        return features, features @ self.fc.weight.T


def resize_like_tensorflow1(x: Tensor, side: int) -> Tensor:
    """Bilinear resize with TensorFlow 1's grid, whose samples start at the corner pixel and have no antialiasing.

    ``x``: (B, C, H, W) float.
    """

    def weights(size: int) -> tuple[Tensor, Tensor, Tensor]:
        at = torch.arange(side, device=x.device, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
        low = at.long()
        return low, (low + 1).clamp_max(size - 1), (at - low).to(x.dtype)

    top, bottom, dy = weights(x.shape[2])
    left, right, dx = weights(x.shape[3])
    rows_top, rows_bottom = x[:, :, top], x[:, :, bottom]
    upper = torch.lerp(rows_top[..., left], rows_top[..., right], dx)
    lower = torch.lerp(rows_bottom[..., left], rows_bottom[..., right], dx)
    return torch.lerp(upper, lower, dy[:, None])


def inception2015(path: Path, device: torch.device) -> Extractor:
    """The canonical extractor: only the Fréchet distance of its features may be called FID.

    Raises CdmError if the file does not exist or is not the published one.
    """
    if not path.is_file():
        raise CdmError(f"evaluate.weights: {path} does not exist; get it from {SOURCE}")
    digest = sha256(path)
    if not digest.startswith(SHA256_PREFIX):
        raise CdmError(
            f"evaluate.weights: {path} has SHA-256 {digest}, not {SHA256_PREFIX}…; get the published file from {SOURCE}"
        )
    net = Inception2015()
    net.load_state_dict(load_state(path))
    net = net.to(device).eval().requires_grad_(False)
    words = "TensorFlow-1 bilinear to 299 px, (x - 128) / 128; pool3 features, logits without bias"
    return Extractor("inception2015", net, 2048, digest, words, device, partial(inception2015, path))
