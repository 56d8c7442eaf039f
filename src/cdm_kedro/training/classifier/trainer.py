"""The training step of a classifier, and its test."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.diffusion.pixels import to_range
from cdm_kedro.errors import CdmError
from cdm_kedro.files.tensors import write_weights
from cdm_kedro.model.execution import usable_precision
from cdm_kedro.model.resnet import ResNet
from cdm_kedro.training.classifier.launch import ClassifierJob
from cdm_kedro.training.loop import Emit, Loop, World
from cdm_kedro.training.state import named

_TEST_BATCH = 128


def augment(images: Tensor, min_crop: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Crop the images at random, resize the crops to the whole, and mirror half of them.

    A crop keeps a uniform share of ``min_crop`` .. 1 of the area at a log-uniform aspect ratio of 3/4 .. 4/3, as is
    usual on ImageNet. Crops are only enlarged, so bilinear interpolation needs no antialiasing. Returns (B, C, H, H).
    ``images``: (B, C, H, H) float. ``min_crop``: smallest share of the area; 1 does not crop. ``generator``: source of
    the random numbers, on the images' device.
    """
    uniforms = torch.rand(len(images), 5, device=images.device, generator=generator)
    mirror = torch.where((uniforms[:, 0] < 0.5) & flip, -1.0, 1.0)
    if min_crop == 1:
        return torch.where((mirror < 0)[:, None, None, None], images.flip(3), images)
    area = min_crop + (1 - min_crop) * uniforms[:, 1]
    ratio = torch.exp((2 * uniforms[:, 2] - 1) * math.log(4 / 3))
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2], theta[:, 1, 2] = (1 - width) * (2 * uniforms[:, 3] - 1), (1 - height) * (2 * uniforms[:, 4] - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


class ClassifierTrainer(Loop):
    """Trains and tests one classifier. Every random number is a function of (seed, step, rank)."""

    def __init__(self, job: ClassifierJob, world: World, emit: Emit) -> None:
        super().__init__(job, world, emit)
        self.params, self.validation, self.weights = job.params, Path(job.validation), job.weights
        torch.manual_seed(self.params.seed)
        sizes = {"depth": job.params.depth, "width": job.params.width}
        sizes |= {"num_classes": job.num_classes, "resolution": job.resolution}
        self.description = {key: str(value) for key, value in sizes.items()}
        self.net = ResNet(**sizes).to(world.device, memory_format=torch.channels_last)
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]  # normalization and biases are not decayed
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": self.params.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=self.params.lr,
            momentum=self.params.momentum,
        )
        self.generator = torch.Generator(world.device)
        self.total = torch.zeros(2, device=world.device)  # loss and steps since the last log point
        self.kept = named("model", self.net.state_dict())
        self.precision = usable_precision(self.params.precision, world.device)
        self.spread(self.params.compile)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then half a cosine to 0."""
        warmup, steps = self.params.warmup_steps, self.params.steps
        if step < warmup:
            return self.params.lr * (step + 1) / warmup
        return self.params.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss () of this process's share of the batch."""
        seed = np.random.SeedSequence([self.params.seed, self.step, self.world.rank]).generate_state(1, np.uint64)[0]
        self.generator.manual_seed(int(seed) >> 1)
        x = augment(to_range(images), self.params.min_crop, self.params.random_flip, self.generator)
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.forward(x.contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), labels)

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """Take one optimizer step on this process's share of the batch."""
        if self.untried:
            self.try_out(lambda: self.loss(images, labels).backward())
        loss = self.loss(images, labels)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.checkpoints.before_change()
        self.optimizer.step()
        self.total[0] += loss.detach()
        self.total[1] += 1
        self.step += 1

    def measure(self) -> dict[str, float]:
        """Return the mean loss since the last call. Raises CdmError if the loss is not finite."""
        if self.world.size > 1:
            dist.all_reduce(self.total)
        total, steps = self.total.tolist()
        self.total.zero_()
        loss = total / steps
        if not math.isfinite(loss):
            raise CdmError(f"{self.job.name}: the loss is {loss} at step {self.step}; lower cas.lr")
        return {"loss": loss}

    def finish(self) -> dict[str, Any]:
        """Test the network, and write it if that is wanted, as safetensors that say how to build it."""
        if self.weights is not None:
            write_weights(Path(self.weights), self.net.state_dict(), self.description)
        return {"counts": self.test()}

    @torch.no_grad()
    def test(self) -> dict[str, list[int]]:
        """Count, for each class, the validation ``images`` and those that are right in ``top1`` and ``top5``."""
        self.net.eval()
        count, num_classes = check_beton(self.validation).num_samples, self.job.num_classes
        counts = torch.zeros(3, num_classes, dtype=torch.int64)
        for start in range(0, count, _TEST_BATCH):
            images, labels = read_beton(self.validation, range(start, min(count, start + _TEST_BATCH)))
            x = to_range(torch.from_numpy(images).to(self.world.device).permute(0, 3, 1, 2))
            best = self.net(x).topk(min(5, num_classes), 1).indices.cpu()
            right = torch.from_numpy(labels)
            hits = best == right[:, None]
            for row, found in enumerate((torch.ones(len(right)), hits[:, 0], hits.any(1))):
                counts[row].index_add_(0, right, found.to(torch.int64))
        return dict(zip(("images", "top1", "top5"), counts.tolist(), strict=True))
