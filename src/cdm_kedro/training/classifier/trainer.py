"""Training and testing of the classifier. Every random number is a function of (seed, step, rank)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.data.loader import BetonLoader
from cdm_kedro.errors import CdmError
from cdm_kedro.model.resnet import ResNet
from cdm_kedro.model.weights import write_weights
from cdm_kedro.training.checkpoint import Checkpoints
from cdm_kedro.training.classifier.job import ClassifierJob

_TEST_BATCH = 128


class DivergedError(CdmError, RuntimeError):
    """The loss is not finite."""


def augment(images: Tensor, min_crop: float, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops resized to the whole, each flipped half of the time.

    Crops keep a uniform share of ``min_crop`` .. 1 of the area at a log-uniform aspect ratio of 3/4 .. 4/3, as is usual
    on ImageNet; they only enlarge, so bilinear interpolation needs no antialiasing.

    Args:
        images: (B, C, H, H) float.
        min_crop: 1 for none.
        flip: whether to flip.
        generator: on the images' device.

    Returns:
        (B, C, H, H).
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


class ClassifierTrainer:
    """Trains and tests one classifier.

    Args:
        job: what to train.
        rank: of this process.
        size: number of processes.
        device: of this process.
        emit: takes events.
    """

    def __init__(
        self, job: ClassifierJob, rank: int, size: int, device: torch.device, emit: Callable[[dict[str, Any]], None]
    ) -> None:
        self.job, self.params = job, job.params
        self.rank, self.size, self.device, self.emit = rank, size, device, emit
        torch.manual_seed(self.params.seed)
        net = ResNet(self.params.depth, job.num_classes, job.resolution, self.params.width)
        self.net = net.to(device, memory_format=torch.channels_last)
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]  # normalization and biases are not decayed
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": self.params.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=self.params.lr,
            momentum=self.params.momentum,
        )
        self.checkpoints = Checkpoints(
            Path(job.workdir) / "checkpoints",
            job.identity(),
            on_saved=lambda step: emit({"event": "checkpoint", "step": step}),
        )
        self.generator = torch.Generator(device)
        self.curve: list[dict[str, float]] = []
        self.step = 0
        self.stop_requested = False
        forward: nn.Module = self.net
        if size > 1:
            forward = nn.parallel.DistributedDataParallel(forward, [device] if device.type == "cuda" else None)
        wanted = self.params.compile if self.params.compile is not None else device.type == "cuda"
        self.forward: Callable[[Tensor], Tensor] = torch.compile(forward) if wanted else forward

    def learning_rate(self, step: int) -> float:
        """Of a step: a linear warm-up, then half a cosine to 0."""
        warmup, steps = self.params.warmup_steps, self.params.steps
        if step < warmup:
            return self.params.lr * (step + 1) / warmup
        return self.params.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    def save(self, wait: bool = False) -> None:
        """Write a resume checkpoint (rank 0 only)."""
        if self.rank != 0:
            return
        tensors = {f"model/{k}": v for k, v in self.net.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            buffer = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                tensors[f"momentum/{name}"] = buffer
        self.checkpoints.save(self.step, tensors, {"curve": list(self.curve)}, wait)

    def resume(self) -> None:
        """Continue from the newest sound checkpoint, if there is one."""
        found = self.checkpoints.load(self.device)
        if found is None:
            return
        self.step, tensors, state = found
        self.net.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
        for name, parameter in self.net.named_parameters():
            if f"momentum/{name}" in tensors:
                self.optimizer.state[parameter] = {"momentum_buffer": tensors[f"momentum/{name}"]}
        self.curve = state["curve"]
        self.emit({"event": "resumed", "step": self.step})

    def train_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One optimizer step on (b, 3, H, H) uint8 images; returns the mean loss."""
        seed = np.random.SeedSequence([self.params.seed, self.step, self.rank]).generate_state(1, np.uint64)[0]
        self.generator.manual_seed(int(seed) >> 1)
        x = augment(images.float() / 127.5 - 1, self.params.min_crop, self.params.random_flip, self.generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16"):
            logits = self.forward(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), labels)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def run(self) -> None:
        """Train to the configured number of steps, or until a stop is requested; then save."""
        self.resume()
        if self.step >= self.params.steps:
            return
        loader = BetonLoader(
            Path(self.job.beton),
            self.params.batch_size,
            seed=self.params.seed,
            rank=self.rank,
            world_size=self.size,
            start_step=self.step,
            device=self.device,
            workers=1 if self.device.type == "cpu" else 4,
        )
        try:
            self._loop(loader)
        finally:
            loader.close()
            self.checkpoints.join()

    def _loop(self, loader: BetonLoader) -> None:
        self.net.train()
        started = saved = time.monotonic()
        total, since = torch.zeros((), device=self.device), self.step
        while self.step < self.params.steps and not self.stop_requested:
            total += self.train_step(*next(loader))
            if self.step % self.params.log_every == 0 or self.step == self.params.steps:
                if self.size > 1:
                    dist.all_reduce(total)
                    total /= self.size
                steps, now = self.step - since, time.monotonic()
                self._log(float(total) / steps, steps * self.params.batch_size / (now - started))
                total.zero_()
                started, since = now, self.step
            if time.monotonic() - saved >= self.params.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save(wait=True)  # testing comes next, and may be killed too

    def _log(self, loss: float, rate: float) -> None:
        if not math.isfinite(loss):
            raise DivergedError(f"{self.job.name}: the loss is {loss} at step {self.step}; lower cas.lr")
        values = {"loss": loss, "learning_rate": self.learning_rate(self.step - 1), "images_per_second": rate}
        self.curve.append({"step": self.step, **values})
        self.emit({"event": "log", "step": self.step, "metrics": values})

    def write(self, path: Path) -> None:
        """Write the network as safetensors that say how to build it."""
        description = {
            "depth": str(self.params.depth),
            "width": str(self.params.width),
            "num_classes": str(self.job.num_classes),
            "resolution": str(self.job.resolution),
        }
        write_weights(path, self.net.state_dict(), description)

    @torch.no_grad()
    def test(self) -> dict[str, list[int]]:
        """Counts by class over the validation images: ``images``, ``top1`` and ``top5`` right ones."""
        self.net.eval()
        path = Path(self.job.validation)
        count = check_beton(path).num_samples
        counts = torch.zeros(3, self.job.num_classes, dtype=torch.int64)
        for start in range(0, count, _TEST_BATCH):
            images, labels = read_beton(path, range(start, min(count, start + _TEST_BATCH)))
            x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            best = self.net(x).topk(min(5, self.job.num_classes), 1).indices.cpu()
            truth = torch.from_numpy(labels)
            hits = best == truth[:, None]
            for row, right in enumerate((torch.ones(len(truth)), hits[:, 0], hits.any(1))):
                counts[row].index_add_(0, truth, right.to(torch.int64))
        return dict(zip(("images", "top1", "top5"), counts.tolist(), strict=True))
