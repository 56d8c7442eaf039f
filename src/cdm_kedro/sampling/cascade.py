"""The cascade at inference: every stage's model, conditioned on the stage below (sections 2.3 and 3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cdm_kedro.diffusion.samplers import SAMPLERS, Model, guided, renoise_and_resample
from cdm_kedro.model.build import build_augmentation, build_process
from cdm_kedro.model.load import find_models, load_net, read_description
from cdm_kedro.params.model import GaussianAugmentation, ModelParams
from cdm_kedro.params.sampling import ModelSamplingParams, SamplingParams
from cdm_kedro.sampling.batch import CPU_BATCH, forward_bytes, free_bytes, largest_batch
from cdm_kedro.sampling.checks import _needed, check_cascade
from cdm_kedro.sampling.compiling import compiled
from cdm_kedro.sampling.conditioning import RealImages, StoredSamples
from cdm_kedro.sampling.model import Stage
from cdm_kedro.sampling.philox import normal

log = logging.getLogger(__name__)

_START, _AUGMENT, _REVERSE = 0, 1, 2  # first of the draws' step numbers: x_T, conditioning augmentation, reverse steps
_MAX_BATCH = 1024  # at the lowest resolution; more gains nothing


@dataclass
class Sampled:
    """One batch through the cascade.

    Attributes:
        images: stage to (B, 3, H, W) uint8 samples.
        low: super-resolution stage to the clean (B, 3, h, w) uint8 images its input was made from.
        stopped: (stage, s) to (B, 3, H, W) float32 states z_s.
    """

    images: dict[str, Tensor] = field(default_factory=dict)
    low: dict[str, Tensor] = field(default_factory=dict)
    stopped: dict[tuple[str, int], Tensor] = field(default_factory=dict)


def default_sampling(params: ModelParams) -> ModelSamplingParams:
    """How a stage is sampled when nobody says: at most 250 ancestral steps (100 with continuous noise levels).

    The conditioning augmentation is the model's own fixed s, or an eighth of its range, as in the paper's Table 3a
    (501 of 4000), re-noised (section 3.3).
    """
    most = 100 if params.diffusion.noise_conditioning == "continuous" else 250
    s = 0
    if isinstance(params.augmentation, GaussianAugmentation):
        fixed = params.augmentation.s
        s = fixed if fixed is not None else min(params.augmentation.timesteps // 8, params.augmentation.s_max)
    return ModelSamplingParams.model_validate({"steps": min(most, params.diffusion.timesteps), "s": s})


class Cascade:
    """Models lowest first, ready to sample; build it with :meth:`from_files`."""

    def __init__(
        self,
        stages: list[Stage],
        num_classes: int,
        params: SamplingParams,
        device: torch.device,
        lowest: int,
        low: Mapping[str, RealImages | StoredSamples],
    ) -> None:
        self.stages, self.num_classes, self.params, self.device = stages, num_classes, params, device
        self._lowest, self._low = lowest, low
        self.job_size = (
            0  # samples of the job that batches are parts of: decides what a last, smaller batch is filled to
        )
        self._batch_size: int | None = None if params.batch_size == "auto" else params.batch_size

    @classmethod
    def from_files(
        cls,
        models: Mapping[str, Path] | Path | str,
        params: SamplingParams | None = None,
        device: torch.device | None = None,
        *,
        real: Mapping[str, Path] | None = None,
        stored: StoredSamples | None = None,
        keep: Mapping[str, Iterable[int]] | None = None,
        only: str | None = None,
    ) -> Cascade:
        """Load a cascade.

        Args:
            models: stage name to weights, lowest first; or a folder of ``<stage>.safetensors``.
            params: sampling parameters, one entry a stage; default :func:`default_sampling`.
            device: default is the GPU where there is one.
            real: ``train_<resolution>`` and ``val_<resolution>`` FFCV files, for stages conditioned on real images.
            stored: samples of one stage that are read instead of made.
            keep: stage to values of s whose z_s :meth:`run` returns too.
            only: sample this stage and what it needs; default all.

        Raises:
            CascadeError: models and parameters do not fit together.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        models = find_models(Path(models)) if isinstance(models, (str, Path)) else models
        if params is None:
            defaults = {name: default_sampling(read_description(path)[0]) for name, path in models.items()}
            params = SamplingParams.model_validate({"num_samples": 1, "stages": defaults})
        kept = {name: frozenset((keep or {}).get(name, ())) for name in models}
        descriptions, num_classes, schedules = check_cascade(models, params, real or {}, kept)
        wanted = _needed(descriptions, only, stored.stage if stored else None, params)
        low: dict[str, RealImages | StoredSamples] = {}
        stages = []
        for number, (name, (stage, _)) in enumerate(descriptions.items()):
            if name not in wanted:
                continue
            sampling = params.stages[name]
            if stage.low is not None and sampling.conditioning != "generated":
                low[name] = RealImages((real or {})[f"{sampling.conditioning}_{stage.low_resolution}"], num_classes)
            elif stored is not None and stage.low == stored.stage:
                low[name] = stored
            net = load_net(models[name], stage, num_classes, device, params.precision)
            compile_it = params.compile if params.compile is not None else device.type == "cuda"
            stages.append(
                Stage(
                    name,
                    number,
                    stage,
                    sampling,
                    net,
                    compiled(net, f"{name}'s network") if compile_it else net,
                    build_process(stage.diffusion),
                    build_augmentation(stage.augmentation),
                    schedules[name],
                    kept[name],
                )
            )
        lowest = min(stage.resolution for stage, _ in descriptions.values())
        return cls(stages, num_classes, params, device, lowest, low)

    @property
    def batch_size(self) -> int:
        """Images at once at the lowest resolution of the cascade; found from the GPU's free memory where asked."""
        if self._batch_size is None:
            self._batch_size = CPU_BATCH
            if self.device.type == "cuda":
                free = free_bytes(self.device)
                each = {s.name: largest_batch(partial(self._bytes, s), free, _MAX_BATCH) for s in self.stages}
                scaled = [each[s.name] * s.params.resolution**2 // self._lowest**2 for s in self.stages]
                self._batch_size = max(1, min(_MAX_BATCH, *scaled))
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self._batch_size = value

    def _bytes(self, stage: Stage, batch: int) -> int:
        side, low = stage.params.resolution, stage.params.low_resolution
        guidance = 1 if stage.sampling.guidance_scale == 1 else 2
        x = torch.zeros(batch, 3, side, side, device=self.device).contiguous(memory_format=torch.channels_last)
        level = torch.zeros(batch, device=self.device)
        y = torch.zeros(batch, dtype=torch.int64, device=self.device) if stage.params.unet.class_cond else None
        z = None if low is None else torch.zeros(batch, 3, low, low, device=self.device)
        s = level if stage.augmentation.conditions_on_level else None

        def forward() -> None:
            with torch.no_grad(), self._autocast():
                stage.net(x, level, y, z, s)

        # Beside the network's activations there are the state, its noise and their 64-bit words: some copies of x.
        return guidance * forward_bytes(forward, self.device) + 16 * x.numel() * x.element_size()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16")

    def work(self) -> dict[str, float]:
        """Relative cost of one sample at each stage: network evaluations times pixels."""
        return {s.name: float(s.evaluations * s.params.resolution**2) for s in self.stages}

    def sample(
        self,
        labels: Tensor | Sequence[int],
        indices: Tensor | None = None,
        seed: int = 0,
        progress: Callable[[str, int], object] | None = None,
    ) -> dict[int, Tensor]:
        """Sample every stage for some images.

        Args:
            labels: (B,) classes.
            indices: (B,) int64 global sample numbers; with ``seed`` they decide the noise. Default 0 .. B - 1.
            seed: of the run.
            progress: called as ``progress(stage, images)`` after every network evaluation.

        Returns:
            Resolution to (B, 3, H, W) uint8 on the cascade's device.

        Raises:
            ValueError: a label outside the classes.
        """
        labels = torch.as_tensor(labels, dtype=torch.int64)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(f"labels must lie in 0 .. {self.num_classes - 1}; got {labels.unique().tolist()[:10]}")
        images = self.run(labels, torch.arange(len(labels)) if indices is None else indices, seed, progress).images
        return {stage.params.resolution: images[stage.name] for stage in self.stages}

    @torch.no_grad()
    def run(
        self, labels: Tensor, indices: Tensor, seed: int, progress: Callable[[str, int], object] | None = None
    ) -> Sampled:
        """Sample every loaded stage; see :meth:`sample` for the arguments."""
        result = Sampled()
        rows_of = labels, indices
        labels, indices = labels.to(self.device), indices.to(self.device)
        for stage in self.stages:
            wanted = set(stage.kept) | {
                other.s
                for other in self.stages
                if other.params.low == stage.name and other.sampling.truncated and other.s > 0
            }
            low = None
            if stage.params.low is not None:
                outside = self._low.get(stage.name)
                low = outside.images(*rows_of).to(self.device) if outside else result.images[stage.params.low]
                result.low[stage.name] = low
            share = max(1, self.batch_size * self._lowest**2 // stage.params.resolution**2)
            parts = []
            kept: dict[int, list[Tensor]] = {s: [] for s in wanted}
            for start in range(0, len(labels), share):
                usual = min(share, max(len(labels), self.job_size))
                rows = self._rows(stage, start, min(start + share, len(labels)), usual)
                real = slice(0, min(share, len(labels) - start))
                z = level = None
                if low is not None:
                    stopped = self._stopped(stage, result, rows_of[1][rows.cpu()], rows)
                    z, level = self._conditioning(stage, low[rows], stopped, indices[rows], seed)
                x, at = self._reverse(stage, labels[rows], indices[rows], seed, z, level, wanted, progress)
                parts.append(((x[real] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
                for s in wanted:
                    kept[s].append(at[s][real])
            # What is stored is what conditions: the next stage sees the 8-bit samples, as in training.
            result.images[stage.name] = torch.cat(parts)
            result.stopped |= {(stage.name, s): torch.cat(tensors) for s, tensors in kept.items()}
        return result

    def _rows(self, stage: Stage, start: int, stop: int, usual: int) -> Tensor:
        """Rows of one batch; the last is repeated where a compiled network would else be compiled for another size.

        What it is filled up to depends on the job's size alone, so that a resumed job rounds as an uninterrupted one.
        """
        count = usual if stage.forward is not stage.net else stop - start
        return torch.arange(start, start + count, device=self.device).clamp_max_(stop - 1)

    def _stopped(self, stage: Stage, result: Sampled, indices: Tensor, rows: Tensor) -> Tensor | None:
        """z_s for a truncated stage."""
        if not stage.sampling.truncated or stage.s == 0:
            return None
        outside = self._low.get(stage.name)
        if isinstance(outside, StoredSamples):
            return outside.stopped(stage.s, indices).to(self.device)
        assert stage.params.low is not None
        return result.stopped[stage.params.low, stage.s][rows]

    def _conditioning(
        self, stage: Stage, low: Tensor, stopped: Tensor | None, indices: Tensor, seed: int
    ) -> tuple[Tensor, Tensor | None]:
        """The network's low-resolution input in [-1, 1], and s for the networks that receive it."""
        if stopped is not None:
            return stopped, torch.full((len(stopped),), float(stage.s), device=self.device)
        clean = low.float() / 127.5 - 1
        noise = normal(seed, stage.number, indices, _AUGMENT, tuple(low.shape[1:])) if stage.s > 0 else None
        return stage.augmentation.sample(clean, stage.s, noise)

    def _reverse(
        self,
        stage: Stage,
        labels: Tensor,
        indices: Tensor,
        seed: int,
        low: Tensor | None,
        level: Tensor | None,
        wanted: set[int],
        progress: Callable[[str, int], object] | None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        shape = (3, stage.params.resolution, stage.params.resolution)
        y = labels if stage.params.unet.class_cond else None

        def model(classes: Tensor | None, x: Tensor, cond: Tensor) -> Tensor:
            x = x.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                out = stage.forward(x, cond, classes, low, level).float()
            if progress is not None:
                progress(stage.name, len(x))
            return out

        net: Model = partial(model, y)
        if stage.sampling.guidance_scale != 1:
            net = guided(net, partial(model, None), stage.sampling.guidance_scale)
        at: dict[int, Tensor] = {}
        steps = stage.schedule.timesteps

        def callback(i: int, x: Tensor) -> None:
            if steps[i] + 1 in wanted:
                at[steps[i] + 1] = x.clone()

        def draw(step: int) -> Tensor:
            return normal(seed, stage.number, indices, step, shape)

        options = {"eta": stage.sampling.eta} if stage.sampling.sampler == "ddim" else {}
        clip = stage.sampling.clip_x_start
        x = SAMPLERS[stage.sampling.sampler](
            net,
            draw(_START),
            stage.schedule,
            lambda i: draw(_REVERSE + i),
            clip_x_start=clip,
            callback=callback,
            **options,
        )
        again = stage.sampling.resample_from
        if again is not None:
            used = _REVERSE + len(stage.schedule)
            x = renoise_and_resample(
                net,
                x.clamp(-1, 1),
                stage.process,
                stage.schedule,
                again - 1,
                draw(used),
                lambda i: draw(used + 1 + i),
                clip,
            )
        return x, at
