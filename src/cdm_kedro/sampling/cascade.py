"""The cascade at inference: every stage's model, conditioned on the stage below (sections 2.3 and 3)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from cdm_kedro.build import build_augmentation, build_process, build_unet
from cdm_kedro.diffusion.augmentation import Augmentation
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import SAMPLERS, Model, ReverseSchedule, guided, renoise_and_resample
from cdm_kedro.diffusion.schedules import inference_alphas_cumprod
from cdm_kedro.params.sampling import SamplingParams, StageSamplingParams
from cdm_kedro.params.stage import GaussianAugmentation, ModelParams, PretrainedParams, parse_model
from cdm_kedro.sampling.batch import CPU_BATCH, forward_bytes, free_bytes, largest_batch
from cdm_kedro.sampling.compiling import compiled
from cdm_kedro.sampling.conditioning import RealImages, StoredSamples
from cdm_kedro.sampling.philox import normal

log = logging.getLogger(__name__)

_START, _AUGMENT, _REVERSE = 0, 1, 2  # first of the draws' step numbers: x_T, conditioning augmentation, reverse steps
_MAX_BATCH = 1024  # at the lowest resolution; more gains nothing


class CascadeError(ValueError):
    """Models and sampling parameters do not fit together; the message names the parameter."""


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
    sampling: StageSamplingParams
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


def _metadata(weights: Path) -> dict[str, str]:
    with safe_open(weights, "pt") as file:
        return file.metadata() or {}


def read_description(weights: Path) -> tuple[ModelParams, int]:
    """Stage parameters and number of classes that a weights file carries.

    Raises:
        CascadeError: the file was not written by training.
    """
    metadata = _metadata(weights)
    try:
        return parse_model(json.loads(metadata["params"])), int(metadata["num_classes"])
    except KeyError as error:
        raise CascadeError(f"{weights}: its metadata lacks {error}; it was not written by a training stage") from None


def read_data_hash(weights: Path) -> str | None:
    """Hash of the 256-pixel file that the model's training images of every size were made from; None if not known."""
    data = json.loads(_metadata(weights).get("data", "{}"))
    return data.get("source_sha256")


def find_models(folder: Path) -> dict[str, Path]:
    """Stage name to weights for every ``*.safetensors`` of a folder, each one's low stage first.

    Raises:
        CascadeError: none there, or a stage whose low stage is missing.
    """
    found = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    if not found:
        raise CascadeError(f"{folder}: holds no *.safetensors; train the cascade, or give the folder of its models")
    params = {name: read_description(path)[0] for name, path in found.items()}
    order: list[str] = []
    for name in sorted(found, key=lambda n: params[n].resolution):
        low = params[name].low
        if low is not None and low not in order:
            raise CascadeError(f"{found[name]} was trained on top of {low}; {folder} has no {low}.safetensors")
        order.append(name)
    return {name: found[name] for name in order}


def default_sampling(params: ModelParams) -> StageSamplingParams:
    """How a stage is sampled when nobody says: at most 250 ancestral steps (100 with continuous noise levels).

    The conditioning augmentation is the model's own fixed s, or an eighth of its range, as in the paper's Table 3a
    (501 of 4000), re-noised (section 3.3).
    """
    most = 100 if params.diffusion.noise_conditioning == "continuous" else 250
    s = 0
    if isinstance(params.augmentation, GaussianAugmentation):
        fixed = params.augmentation.s
        s = fixed if fixed is not None else min(params.augmentation.timesteps // 8, params.augmentation.s_max)
    return StageSamplingParams.model_validate({"steps": min(most, params.diffusion.timesteps), "s": s})


def load_net(weights: Path, params: ModelParams, num_classes: int, device: torch.device, precision: str) -> nn.Module:
    """The network with the file's weights, in eval mode.

    With ``precision`` bf16 the weights of convolutions and linear layers are stored so: autocast would round them
    anew at every step.
    """
    net = build_unet(params, num_classes)
    with safe_open(weights, "pt") as file:
        net.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    if precision == "bf16":
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(torch.bfloat16)
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
    assert not isinstance(sampling.steps, str)
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


def check_cascade(
    models: Mapping[str, Path],
    params: SamplingParams,
    real: Mapping[str, Path] | None = None,
    keep: Mapping[str, Iterable[int]] | None = None,
) -> tuple[dict[str, tuple[ModelParams, int]], int, dict[str, ReverseSchedule]]:
    """Refuse models and settings that do not fit together; reads descriptions, no weights.

    Args:
        models: stage name to weights, lowest first.
        params: one entry a stage.
        real: FFCV files of real low-resolution images, by name.
        keep: stage to values of s that its schedule must pass.

    Returns:
        Each stage's parameters and number of classes, the number of classes of all, and each stage's schedule.

    Raises:
        CascadeError: what does not fit.
    """
    descriptions = {name: read_description(path) for name, path in models.items()}
    if set(descriptions) != set(params.stages):
        raise CascadeError(
            f"sample.stages has {sorted(params.stages)}, the cascade has {sorted(descriptions)}; give one entry a stage"
        )
    counts = {count for _, count in descriptions.values()}
    if len(counts) != 1:
        raise CascadeError(f"the models were trained on different numbers of classes: {sorted(counts)}")
    visits = {name: {s - 1 for s in (keep or {}).get(name, ()) if s > 0} for name in descriptions}
    for name, (stage, _) in descriptions.items():
        sampling = params.stages[name]
        _check(name, stage, sampling, descriptions)
        _check_data(name, stage, models)
        key = f"{sampling.conditioning}_{stage.low_resolution}"
        if sampling.conditioning != "generated" and key not in (real or {}):
            raise CascadeError(
                f"sample.stages.{name}.conditioning is {sampling.conditioning}; it needs the images {key}, "
                f"got {sorted(real or {})}"
            )
        if sampling.truncated and isinstance(sampling.s, int) and sampling.s > 0 and stage.low is not None:
            visits[stage.low].add(sampling.s - 1)
        if sampling.resample_from is not None:
            visits[name].add(sampling.resample_from - 1)
    schedules = {
        name: make_schedule(name, stage, params.stages[name], build_process(stage.diffusion), visits[name])
        for name, (stage, _) in descriptions.items()
    }
    return descriptions, counts.pop(), schedules


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


def _needed(
    descriptions: Mapping[str, tuple[ModelParams, int]], only: str | None, stored: str | None, params: SamplingParams
) -> set[str]:
    if only is None:
        return set(descriptions)
    needed, name = {only}, descriptions[only][0].low
    while name is not None and name != stored:
        above = next(n for n in needed if descriptions[n][0].low == name)
        if params.stages[above].conditioning != "generated":
            break
        needed.add(name)
        name = descriptions[name][0].low
    return needed


def _check(
    name: str, stage: ModelParams, sampling: StageSamplingParams, all_: Mapping[str, tuple[ModelParams, int]]
) -> None:
    key = f"sample.stages.{name}"
    if sampling.searched:
        raise CascadeError(f"{key} asks for best values of {', '.join(sampling.searched)}; they are not filled in")
    if sampling.guidance_scale != 1 and stage.class_dropout == 0:
        raise CascadeError(f"{key}.guidance_scale is {sampling.guidance_scale}; train with class_dropout > 0 for that")
    again = sampling.resample_from
    if again is not None and again > stage.diffusion.timesteps:
        raise CascadeError(
            f"{key}.resample_from is {again}; the model was trained on {stage.diffusion.timesteps} steps"
        )
    if stage.low is None:
        if sampling.s or sampling.truncated or sampling.conditioning != "generated":
            raise CascadeError(
                f"{key}.s, .truncated and .conditioning are about a low-resolution input; {name} has none"
            )
        return
    if stage.low not in all_:
        raise CascadeError(f"{name} was trained on top of {stage.low}, which is not in the cascade {sorted(all_)}")
    made = all_[stage.low][0].resolution
    if made != stage.low_resolution:
        raise CascadeError(
            f"{name} was trained on {stage.low_resolution}-pixel inputs, but {stage.low} makes {made} pixels"
        )
    assert isinstance(sampling.s, int)
    augmentation = stage.augmentation
    if not isinstance(augmentation, GaussianAugmentation):
        if sampling.s > 0:
            raise CascadeError(
                f"{key}.s is {sampling.s}; {name} was trained with augmentation {augmentation.kind}, which knows only "
                "s: 0"
            )
        return
    fixed, largest = augmentation.s, augmentation.s_max
    if sampling.s > largest or (fixed is not None and sampling.s != fixed):
        allowed = f"s: {fixed}" if fixed is not None else f"s: 0 to {largest}"
        raise CascadeError(f"{key}.s is {sampling.s}; {name} was trained for {allowed}")
    low = all_[stage.low][0].diffusion
    own = (low.timesteps, low.schedule, *((low.beta_start, low.beta_end) if low.schedule == "linear" else ()))
    counted = (
        augmentation.timesteps,
        augmentation.schedule,
        *((augmentation.beta_start, augmentation.beta_end) if augmentation.schedule == "linear" else ()),
    )
    if sampling.truncated and sampling.s > 0 and own != counted:
        raise CascadeError(
            f"{key}.truncated needs {name}'s augmentation to count s on {stage.low}'s own process "
            f"({low.schedule}, {low.timesteps} steps); "
            f"it was trained on {augmentation.schedule}, {augmentation.timesteps}"
        )


def _check_data(name: str, stage: ModelParams, models: Mapping[str, Path]) -> None:
    if stage.low is None or isinstance(stage, PretrainedParams):  # published weights carry no hash of their data
        return
    own, below = (read_data_hash(models[n]) for n in (name, stage.low))
    if own is None or below is None:
        log.warning("%s or %s does not say what data it was trained on; their fit is not checked", name, stage.low)
    elif own != below:
        raise CascadeError(
            f"{models[name]} was trained on other images than {models[stage.low]}, whose samples it continues "
            f"(hash of the 256-pixel file {own[:12]}, not {below[:12]}); train both on one data set"
        )
