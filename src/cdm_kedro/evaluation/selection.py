"""Scores the average's samples during training, so that the best can be kept (section 4: FID on 10 000 samples).

The trainer imports this only where the parameters ask for it, and the lineage of a stage counts it only then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data.beton import check_beton, iterate_beton, read_beton
from cdm_kedro.data.resample import downsample
from cdm_kedro.diffusion.samplers import SAMPLERS, ReverseSchedule
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.statistics import MomentsAccumulator, frechet_distance, moments
from cdm_kedro.model.build import build_augmentation, build_process, build_unet
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.sampling.philox import normal
from cdm_kedro.training.job import TrainingJob

_STAGE, _START, _AUGMENT, _REVERSE = 0, 0, 1, 2  # the draws' stage and first step numbers


class Selector:
    """Fréchet distance between samples and the stage's training images; every rank samples its share.

    A super-resolution model is conditioned on low-resolution versions of training images, since the models below may
    not exist yet; ``s`` of the parameters is its conditioning augmentation. The noise of sample i is the same at every
    score, and no generator of the training is touched.

    Args:
        job: of the training.
        rank: of this process.
        size: number of processes.
        leader: rank that computes the distance.
        device: of this process.
    """

    def __init__(self, job: TrainingJob, rank: int, size: int, leader: int, device: torch.device) -> None:
        wanted = job.params.training.selection
        assert wanted is not None
        self.job, self.wanted, self.device = job, wanted, device
        self.rank, self.size, self.leader = rank, size, leader
        scoring = EvaluateParams.model_validate(
            {"extractor": wanted.extractor, "weights": wanted.weights, "input_side": wanted.input_side}
        )
        self.extractor = make_extractor(scoring, device)
        self.name = "fid" if wanted.extractor == "inception2015" else f"fd_{self.extractor.name}"
        self.net = build_unet(job.params, job.num_classes)
        self.net = self.net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        process = build_process(job.params.diffusion)
        continuous = job.params.diffusion.noise_conditioning == "continuous"
        self.schedule = ReverseSchedule.respaced(process, wanted.steps, set(), continuous)
        self.augmentation = build_augmentation(job.params.augmentation)
        self.count = check_beton(Path(job.beton)).num_samples
        if rank == leader:
            accumulator = MomentsAccumulator()
            for images in iterate_beton(Path(job.beton), wanted.batch_size, wanted.reference_images):
                accumulator.add(self.extractor(images)[0])
            self.reference = accumulator.moments()

    def score(self, weights: dict[str, Tensor]) -> float:
        """Distance of the samples that these weights make; lower is better, the same on every rank."""
        self.net.load_state_dict(weights)
        shares = [np.arange(rank, self.wanted.num_samples, self.size) for rank in range(self.size)]
        mine = shares[self.rank]
        found = [self.features(part) for part in np.array_split(mine, -(-len(mine) // self.wanted.batch_size))]
        parts: list[Any] = [np.concatenate(found)] * self.size
        if self.size > 1:
            dist.all_gather_object(parts, parts[0])
        result = [0.0]
        if self.rank == self.leader:
            in_order = np.concatenate(parts)[np.argsort(np.concatenate(shares))]
            result = [frechet_distance(moments(in_order), self.reference)]
        if self.size > 1:
            dist.broadcast_object_list(result, self.leader, device=self.device)
        return result[0]

    def features(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features (n, D) of the samples with these numbers."""
        return self.extractor(self.sample(numbers))[0]

    @torch.no_grad()
    def sample(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Samples (n, H, W, 3) with these numbers; their classes take turns."""
        indices, seed = torch.from_numpy(numbers).to(self.device), self.job.params.training.seed
        params, level, low = self.job.params, None, None
        y = indices % self.job.num_classes if params.unet.class_cond else None
        if params.low_resolution is not None:
            chosen = numbers * self.count // self.wanted.num_samples % self.count  # spread over the file
            images, labels = read_beton(Path(self.job.beton), [int(i) for i in chosen])
            pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
            low = downsample(pixels, params.low_resolution).float() / 127.5 - 1
            noise = normal(seed, _STAGE, indices, _AUGMENT, tuple(low.shape[1:])) if self.wanted.s else None
            low, level = self.augmentation.sample(low, self.wanted.s, noise)
            y = None if y is None else torch.from_numpy(labels).to(self.device)

        def model(x: Tensor, cond: Tensor) -> Tensor:
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=params.training.precision == "bf16"):
                return self.net(x, cond, y, low, level).float()

        shape = (3, params.resolution, params.resolution)
        x = SAMPLERS[self.wanted.sampler](
            model,
            normal(seed, _STAGE, indices, _START, shape),
            self.schedule,
            lambda i: normal(seed, _STAGE, indices, _REVERSE + i, shape),
            clip_x_start=True,
        )
        return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
