"""Refuses models and sampling settings that do not fit together, before any work."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.diffusion.schedules import inference_alphas_cumprod
from cdm_kedro.errors import CascadeError
from cdm_kedro.model.build import build_process
from cdm_kedro.model.load import read_data_hash, read_description
from cdm_kedro.params.model import GaussianAugmentation, ModelParams, PretrainedModelParams
from cdm_kedro.params.sampling import ModelSamplingParams, SamplingParams

log = logging.getLogger(__name__)


def make_schedule(
    name: str, params: ModelParams, sampling: ModelSamplingParams, process: DiffusionProcess, visit: set[int]
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
    name: str, stage: ModelParams, sampling: ModelSamplingParams, all_: Mapping[str, tuple[ModelParams, int]]
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
    if stage.low is None or isinstance(stage, PretrainedModelParams):  # published weights carry no hash of their data
        return
    own, below = (read_data_hash(models[n]) for n in (name, stage.low))
    if own is None or below is None:
        log.warning("%s or %s does not say what data it was trained on; their fit is not checked", name, stage.low)
    elif own != below:
        raise CascadeError(
            f"{models[name]} was trained on other images than {models[stage.low]}, whose samples it continues "
            f"(hash of the 256-pixel file {own[:12]}, not {below[:12]}); train both on one data set"
        )
