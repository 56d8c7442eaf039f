"""One model of the cascade, loaded and ready to sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from cdm_kedro.diffusion.augmentation import Augmentation
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.params.model import ModelParams
from cdm_kedro.params.sampling import ModelSamplingParams


@dataclass
class Stage:
    """One loaded model and how it is sampled.

    Attributes:
        number: position among all models of the cascade, which enters the noise.
        forward: the network, compiled where that is wanted.
        kept: values of s whose z_s a caller asked for.
    """

    name: str
    number: int
    params: ModelParams
    sampling: ModelSamplingParams
    net: nn.Module
    forward: Callable[..., Tensor]
    process: DiffusionProcess
    augmentation: Augmentation
    schedule: ReverseSchedule
    kept: frozenset[int] = frozenset()

    @property
    def s(self) -> int:
        """Conditioning augmentation; a number, since :func:`_check` has refused anything else."""
        assert isinstance(self.sampling.s, int)
        return self.sampling.s

    @property
    def evaluations(self) -> int:
        """Network evaluations of one sample."""
        again = self.sampling.resample_from
        steps = len(self.schedule) + (0 if again is None else len(self.schedule.below(again - 1)))
        return steps * (1 if self.sampling.guidance_scale == 1 else 2)
