"""The cascade at inference: every stage's model, conditioned on the stage below (sections 2.3 and 3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from cdm_kedro.build import build_augmentation, build_process, build_unet
from cdm_kedro.diffusion.augmentation import Augmentation
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import SAMPLERS, Model, ReverseSchedule, guided
from cdm_kedro.diffusion.schedules import inference_alphas_cumprod
from cdm_kedro.params.sampling import SampleParams, StageSamplingParams
from cdm_kedro.params.stage import GaussianAugmentation, ModelParams, parse_model
from cdm_kedro.sampling.philox import normal

_START, _AUGMENT, _REVERSE = 0, 1, 2  # first of the draws' step numbers: x_T, conditioning augmentation, reverse steps


class CascadeError(ValueError):
    """Models and sampling parameters do not fit together; the message names the parameter."""


@dataclass
class Stage:
    """One loaded model and how it is sampled."""

    name: str
    params: ModelParams
    sampling: StageSamplingParams
    net: nn.Module
    process: DiffusionProcess
    augmentation: Augmentation
    schedule: ReverseSchedule


def read_description(weights: Path) -> tuple[ModelParams, int]:
    """Stage parameters and number of classes that a weights file carries.

    Raises:
        CascadeError: the file is no model of this project.
    """
    with safe_open(weights, "pt") as file:
        metadata = file.metadata() or {}
    try:
        return parse_model(json.loads(metadata["params"])), int(metadata["num_classes"])
    except KeyError as error:
        raise CascadeError(f"{weights}: its metadata lacks {error}; it is no model of this project") from None


def load_net(weights: Path, params: ModelParams, num_classes: int, device: torch.device) -> nn.Module:
    """The network with the file's weights, in eval mode."""
    net = build_unet(params, num_classes)
    with safe_open(weights, "pt") as file:
        net.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    return net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


def make_schedule(
    name: str, params: ModelParams, sampling: StageSamplingParams, process: DiffusionProcess, visit: set[int]
) -> ReverseSchedule:
    """Levels to visit for one stage.

    Args:
        name: of the stage, for messages.
        params: as trained.
        sampling: as asked.
        process: the training process.
        visit: indices that must be visited, since a higher stage takes z_s there.

    Raises:
        CascadeError: a schedule that the model cannot follow.
    """
    continuous = params.diffusion.noise_conditioning == "continuous"
    if sampling.schedule == "train":
        try:
            return ReverseSchedule.respaced(process, sampling.steps, visit, continuous)
        except ValueError as error:
            raise CascadeError(f"sample.stages.{name}: {error}") from None
    if not continuous:
        raise CascadeError(
            f"sample.stages.{name}.schedule is {sampling.schedule}, but the model is conditioned on timesteps and "
            "knows only its training schedule; use schedule: train, or train it with noise_conditioning: continuous"
        )
    if visit:
        raise CascadeError(
            f"sample.stages.{name}.schedule is {sampling.schedule}, but a higher stage is truncated at a step of the "
            "training schedule; use schedule: train there, or truncated: false above"
        )
    steps = sampling.steps or process.num_timesteps
    return ReverseSchedule.continuous(
        inference_alphas_cumprod(sampling.schedule, steps, sampling.beta_start, sampling.beta_end)
    )


class Cascade:
    """Models lowest first, ready to sample.

    Args:
        stages: lowest first.
        num_classes: of the data.
        params: sampling parameters.
        device: where everything lives.
    """

    def __init__(self, stages: list[Stage], num_classes: int, params: SampleParams, device: torch.device) -> None:
        self.stages, self.num_classes, self.params, self.device = stages, num_classes, params, device

    @classmethod
    def from_files(
        cls, models: Mapping[str, Path], params: SampleParams, device: torch.device | None = None
    ) -> Cascade:
        """Load a cascade.

        Args:
            models: stage name to weights, lowest first.
            params: sampling parameters, one entry a stage.
            device: default is the GPU where there is one.

        Raises:
            CascadeError: models and parameters do not fit together.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        descriptions = {name: read_description(path) for name, path in models.items()}
        if set(descriptions) != set(params.stages):
            raise CascadeError(
                f"sample.stages has {sorted(params.stages)}, the cascade has {sorted(descriptions)}; "
                "give one entry a stage"
            )
        counts = {count for _, count in descriptions.values()}
        if len(counts) != 1:
            raise CascadeError(f"the models were trained on different numbers of classes: {sorted(counts)}")
        visits: dict[str, set[int]] = {name: set() for name in descriptions}
        for name, (stage, _) in descriptions.items():
            _check_conditioning(name, stage, params.stages[name], descriptions)
            sampling = params.stages[name]
            if sampling.truncated and sampling.s > 0 and stage.low is not None:
                visits[stage.low].add(sampling.s - 1)
        stages = []
        for name, (stage, count) in descriptions.items():
            process = build_process(stage.diffusion)
            schedule = make_schedule(name, stage, params.stages[name], process, visits[name])
            net = load_net(models[name], stage, count, device)
            stages.append(
                Stage(name, stage, params.stages[name], net, process, build_augmentation(stage.augmentation), schedule)
            )
        return cls(stages, counts.pop(), params, device)

    def work(self) -> dict[str, float]:
        """Relative cost of one sample at each stage: network evaluations times pixels."""
        return {
            s.name: len(s.schedule) * s.params.resolution**2 * (1 if s.sampling.guidance_scale == 1 else 2)
            for s in self.stages
        }

    @torch.no_grad()
    def sample(
        self, labels: Tensor, indices: Tensor, seed: int, progress: Callable[[str, int], None] | None = None
    ) -> dict[int, Tensor]:
        """Sample every stage for some images.

        Args:
            labels: (B,) int64 classes.
            indices: (B,) int64 global sample numbers; with ``seed`` they decide the noise.
            seed: of the run.
            progress: called as ``progress(stage, images)`` after every reverse step.

        Returns:
            Resolution to (B, 3, H, W) uint8.
        """
        labels, indices = labels.to(self.device), indices.to(self.device)
        finished: dict[str, Tensor] = {}
        stopped: dict[tuple[str, int], Tensor] = {}  # z_s of a stage, by s
        out: dict[int, Tensor] = {}
        lowest = self.stages[0].params.resolution
        for number, stage in enumerate(self.stages):
            wanted = {
                other.sampling.s
                for other in self.stages
                if other.params.low == stage.name and other.sampling.truncated and other.sampling.s > 0
            }
            share = max(1, self.params.batch_size * lowest**2 // stage.params.resolution**2)
            parts = []
            kept: dict[int, list[Tensor]] = {s: [] for s in wanted}
            for start in range(0, len(labels), share):
                rows = slice(start, start + share)
                low = level = None
                if stage.params.low is not None:
                    low, level = self._conditioning(number, stage, finished, stopped, rows, indices[rows], seed)
                x, at = self._reverse(number, stage, labels[rows], indices[rows], seed, low, level, wanted, progress)
                parts.append(((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
                for s in wanted:
                    kept[s].append(at[s])
            images = torch.cat(parts)
            out[stage.params.resolution] = images
            # What is stored is what conditions: the next stage sees the 8-bit samples, as in training.
            finished[stage.name] = images.float() / 127.5 - 1
            stopped.update({(stage.name, s): torch.cat(tensors) for s, tensors in kept.items()})
        return out

    def _conditioning(
        self,
        number: int,
        stage: Stage,
        finished: dict[str, Tensor],
        stopped: dict[tuple[str, int], Tensor],
        rows: slice,
        indices: Tensor,
        seed: int,
    ) -> tuple[Tensor, Tensor | None]:
        s, low_name = stage.sampling.s, stage.params.low
        assert low_name is not None
        if stage.sampling.truncated and s > 0:
            z_s = stopped[low_name, s][rows]
            return z_s, torch.full((len(z_s),), float(s), device=self.device)
        low = finished[low_name][rows]
        noise = normal(seed, number, indices, _AUGMENT, tuple(low.shape[1:])) if s > 0 else None
        return stage.augmentation.sample(low, s, noise)

    def _reverse(
        self,
        number: int,
        stage: Stage,
        labels: Tensor,
        indices: Tensor,
        seed: int,
        low: Tensor | None,
        level: Tensor | None,
        wanted: set[int],
        progress: Callable[[str, int], None] | None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        shape = (3, stage.params.resolution, stage.params.resolution)
        y = labels if stage.params.unet.class_cond else None

        def model(classes: Tensor | None, x: Tensor, cond: Tensor) -> Tensor:
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.precision == "bf16"):
                return stage.net(x, cond, classes, low, level).float()

        net: Model = partial(model, y)
        if stage.sampling.guidance_scale != 1:
            net = guided(net, partial(model, None), stage.sampling.guidance_scale)
        at: dict[int, Tensor] = {}
        steps = stage.schedule.timesteps

        def callback(i: int, x: Tensor) -> None:
            if steps[i] + 1 in wanted:
                at[steps[i] + 1] = x.clone()
            if progress is not None and i > 0:
                progress(stage.name, len(x))

        options = {"eta": stage.sampling.eta} if stage.sampling.sampler == "ddim" else {}
        x = SAMPLERS[stage.sampling.sampler](
            net,
            normal(seed, number, indices, _START, shape),
            stage.schedule,
            lambda i: normal(seed, number, indices, _REVERSE + i, shape),
            clip_x_start=stage.sampling.clip_x_start,
            callback=callback,
            **options,
        )
        if progress is not None:
            progress(stage.name, len(x))
        return x, at


def _check_conditioning(
    name: str, stage: ModelParams, sampling: StageSamplingParams, all_: Mapping[str, tuple[ModelParams, int]]
) -> None:
    key = f"sample.stages.{name}"
    if stage.low is None:
        if sampling.s or sampling.truncated:
            raise CascadeError(f"{key}.s and .truncated are about a low-resolution input; {name} has none")
        return
    if stage.low not in all_:
        raise CascadeError(f"{name} was trained on top of {stage.low}, which is not in the cascade {sorted(all_)}")
    if sampling.guidance_scale != 1 and stage.class_dropout == 0:
        raise CascadeError(f"{key}.guidance_scale is {sampling.guidance_scale}; train with class_dropout > 0 for that")
    if sampling.s == 0:
        return
    augmentation = stage.augmentation
    if not isinstance(augmentation, GaussianAugmentation):
        raise CascadeError(
            f"{key}.s is {sampling.s}; {name} was trained with augmentation {augmentation.kind}, which knows only s: 0"
        )
    fixed, largest = augmentation.s, augmentation.s_max
    if sampling.s > largest or (fixed is not None and sampling.s != fixed):
        allowed = f"s: {fixed}" if fixed is not None else f"s: 0 to {largest}"
        raise CascadeError(f"{key}.s is {sampling.s}; {name} was trained for {allowed}")
    low = all_[stage.low][0].diffusion
    same = (low.timesteps, low.schedule) == (augmentation.timesteps, augmentation.schedule)
    if sampling.truncated and not same:
        raise CascadeError(
            f"{key}.truncated needs {name}'s augmentation to count s on {stage.low}'s own process "
            f"({low.schedule}, {low.timesteps} steps); "
            f"it was trained on {augmentation.schedule}, {augmentation.timesteps}"
        )
