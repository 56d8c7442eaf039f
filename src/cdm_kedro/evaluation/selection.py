"""Scores the average's samples during training, so that the best can be kept (section 4: FID on 10 000 samples).

The trainer imports this only where the parameters ask for it, and the lineage of a stage counts it only then.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data.beton import check_beton, iterate_beton, read_beton
from cdm_kedro.data.resample import downsample
from cdm_kedro.diffusion.pixels import to_uint8
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.statistics import MomentsAccumulator, frechet_distance, moments
from cdm_kedro.model.build import build_process, build_unet
from cdm_kedro.model.execution import usable_precision
from cdm_kedro.params.evaluation import EvaluateParams
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.sampling.model import LoadedModel
from cdm_kedro.training.job import TrainingJob
from cdm_kedro.training.loop import World


class Selector:
    """Fréchet distance between samples and training or held-out images; every process samples its share.

    A super-resolution model is conditioned on low-resolution versions of these images, since the models below may
    not exist yet; ``s`` of the parameters is its conditioning augmentation. The noise of sample i is the same at every
    score, and no generator of the training is touched.
    """

    def __init__(self, job: TrainingJob, world: World) -> None:
        wanted = job.training.selection
        assert wanted is not None
        self.job, self.wanted, self.world = job, wanted, world
        scoring = EvaluateParams.model_validate(
            {"extractor": wanted.extractor, "weights": wanted.weights, "input_side": wanted.input_side}
        )
        self.extractor = make_extractor(scoring, world.device)
        self.name = "fid" if wanted.extractor == "inception2015" else f"fd_{self.extractor.name}"
        net = build_unet(job.params, job.num_classes).to(world.device)
        diffusion = job.params.diffusion
        self.model = LoadedModel(
            job.name,
            0,
            job.params,
            ModelSamplingParams.model_validate(
                {key: getattr(wanted, key) for key in ("sampler", "steps", "variance", "s")}
            ),
            ReverseSchedule.respaced(
                build_process(diffusion), wanted.steps, continuous=diffusion.noise_conditioning == "continuous"
            ),
            net.eval().requires_grad_(False),
            usable_precision(job.training.precision, world.device),
        )
        self.beton = Path(job.held_out or job.beton)
        self.count = check_beton(self.beton).num_samples
        if world.leads:
            accumulator = MomentsAccumulator()
            for images in iterate_beton(self.beton, wanted.batch_size, wanted.reference_images):
                accumulator.add(self.extractor(images)[0])
            self.reference = accumulator.moments()

    def score(self, weights: dict[str, Tensor]) -> float:
        """Distance of the samples that these weights make; lower is better, the same on every process."""
        self.model.net.load_state_dict(weights)
        rank, size, leader = self.world.rank, self.world.size, self.world.leader
        shares = [np.arange(first, self.wanted.num_samples, size) for first in range(size)]
        batches = np.array_split(shares[rank], -(-len(shares[rank]) // self.wanted.batch_size))
        parts: list[Any] = [np.concatenate([self.extractor(self.sample(batch))[0] for batch in batches])] * size
        if size > 1:
            dist.all_gather_object(parts, parts[0])
        result = [0.0]
        if self.world.leads:
            in_order = np.concatenate(parts)[np.argsort(np.concatenate(shares))]
            result = [frechet_distance(moments(in_order), self.reference)]
        if size > 1:
            dist.broadcast_object_list(result, leader, device=self.world.device)
        return result[0]

    def sample(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Samples (n, H, W, 3) with these numbers; their classes take turns or are those of held-out images."""
        indices, seed = torch.from_numpy(numbers).to(self.world.device), self.job.training.seed
        labels = indices % self.job.num_classes
        condition: tuple[Tensor | None, Tensor | None] = (None, None)
        low_resolution = self.job.params.low_resolution
        if low_resolution is not None or self.job.held_out:
            chosen = numbers * self.count // self.wanted.num_samples % self.count  # spread over the file
            images, stored = read_beton(self.beton, chosen.tolist())
            labels = torch.from_numpy(stored).to(self.world.device)
            if low_resolution is not None:
                pixels = torch.from_numpy(images).to(self.world.device).permute(0, 3, 1, 2)
                condition = self.model.condition(downsample(pixels, low_resolution), None, indices, seed)
        x, _ = self.model.sample(labels, indices, seed, *condition)
        return to_uint8(x).permute(0, 2, 3, 1).cpu().numpy()
