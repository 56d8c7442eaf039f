"""Scores the average's samples during training, so that the best can be kept (section 4: FID on 10 000 samples).

The trainer imports this only where the parameters ask for it, and the lineage of a stage counts it only then.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.data.resample import downsample
from cdm_kedro.diffusion.pixels import to_uint8
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.evaluation.extractors.make import make_extractor
from cdm_kedro.evaluation.statistics import Moments, MomentsAccumulator, frechet_distance
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
        scoring = EvaluateParams.model_validate(wanted.model_dump(include={"extractor", "weights", "input_side"}))
        self.extractor = make_extractor(scoring, world.device)
        self.name = "fid" if wanted.extractor == "inception2015" else f"fd_{self.extractor.name}"
        net = build_unet(job.params, job.num_classes).to(world.device)
        diffusion = job.params.diffusion
        self.model = LoadedModel(
            job.name,
            0,
            job.params,
            ModelSamplingParams.model_validate(wanted.model_dump(include={"sampler", "steps", "variance", "s"})),
            ReverseSchedule.respaced(
                build_process(diffusion), wanted.steps, continuous=diffusion.noise_conditioning == "continuous"
            ),
            net.eval().requires_grad_(False),
            usable_precision(job.training.precision, world.device),
            compile=world.cuda if job.training.compile is None else job.training.compile,
            graphs=False,  # what they compute in would be missing in training
        )
        self.beton = Path(job.held_out or job.beton)
        self.count = check_beton(self.beton).num_samples
        rows, size = range(self.count)[: wanted.reference_images], wanted.batch_size
        own = (rows[start : start + size] for start in range(world.rank * size, len(rows), world.size * size))
        self.reference = self.moments(self.extractor(read_beton(self.beton, batch)[0])[0] for batch in own)

    def moments(self, features: Iterable[NDArray[np.float32]]) -> Moments:
        """Moments of all processes' features."""
        seen = MomentsAccumulator()
        for batch in features:
            seen.add(batch)
        whole = MomentsAccumulator()
        for part in self.world.gathered(seen):
            whole.merge(part)
        return whole.moments()

    def score(self, weights: dict[str, Tensor]) -> float:
        """Distance of the samples that these weights make; lower is better, the same on every process."""
        self.model.net.load_state_dict(weights)
        most = -(-self.wanted.num_samples // self.world.size)
        each = -(-most // -(-most // self.wanted.batch_size))  # as even as can be
        own = np.arange(self.world.rank, self.wanted.num_samples, self.world.size)
        batches = (own[start : start + each] for start in range(0, len(own), each))
        # A last, smaller batch is filled up, for the network would be compiled anew for it.
        filled = ((len(batch), np.pad(batch, (0, each - len(batch)), "edge")) for batch in batches)
        sampled = self.moments(self.extractor(self.sample(numbers))[0][:count] for count, numbers in filled)
        distance = frechet_distance(sampled, self.reference) if self.world.leads else 0.0
        return self.world.gathered(distance)[self.world.leader]

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
