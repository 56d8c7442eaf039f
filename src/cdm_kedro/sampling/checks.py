"""Refusals of models and sampling settings that do not fit together, before any work."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import ReverseSchedule
from cdm_kedro.diffusion.schedules import end_points, inference_alphas_cumprod
from cdm_kedro.errors import CdmError
from cdm_kedro.model.build import build_process
from cdm_kedro.model.load import read_data_hash, read_description
from cdm_kedro.params.model import DiffusionParams, GaussianAugmentation, ModelParams, PretrainedModelParams
from cdm_kedro.params.sampling import ModelSamplingParams, SamplingParams

log = logging.getLogger(__name__)
_MOST_SIGNAL = 0.1  # sqrt(alphas_cumprod) of the noisiest level, up to which it passes for N(0, I)


class CheckedModel(NamedTuple):
    """One model of a cascade whose models and settings fit together."""

    params: ModelParams
    sampling: ModelSamplingParams
    schedule: ReverseSchedule
    states_at: frozenset[int]  # values of s whose z_s the caller or a truncated model above needs


def check_cascade(
    models: Mapping[str, Path],
    params: SamplingParams,
    real: Mapping[str, Path] | None = None,
    states_at: Mapping[str, Collection[int]] | None = None,
) -> tuple[dict[str, CheckedModel], int]:
    """Refuse models and settings that do not fit together. Descriptions are read, weights are not.

    Returns each model, lowest first, and the number of classes that all know. Raises CdmError where something does
    not fit. ``models``: names and weights, lowest first. ``states_at``: model to the values of s whose z_s the caller
    wants.
    """
    described = {name: read_description(path) for name, path in models.items()}
    if set(described) != set(params.stages):
        raise CdmError(
            f"sample.stages has {sorted(params.stages)}, the cascade has {sorted(described)}; give one entry a stage"
        )
    counts = {num_classes for _, num_classes in described.values()}
    if len(counts) != 1:
        raise CdmError(f"the models were trained on different numbers of classes: {sorted(counts)}")
    known = {name: model for name, (model, _) in described.items()}
    states = {name: {s for s in (states_at or {}).get(name, ()) if s > 0} for name in known}
    for name, model in known.items():
        sampling, key = params.stages[name], f"sample.stages.{name}"
        _check_alone(key, model, sampling)
        if model.low is None:
            if sampling.s or sampling.truncated or sampling.blur or sampling.conditioning != "generated":
                raise CdmError(
                    f"{key}.s, .truncated, .blur and .conditioning are about a low-resolution input; {name} has none"
                )
            continue
        _check_low(name, model.low, models, known)
        image_file = f"{sampling.conditioning}_{model.low_resolution}"
        if sampling.conditioning != "generated" and image_file not in (real or {}):
            raise CdmError(
                f"{key}.conditioning is {sampling.conditioning}; it needs the images {image_file}, "
                f"got {sorted(real or {})}"
            )
        check_augmentation(key, name, model, sampling, known[model.low].diffusion)
        if sampling.truncated and isinstance(sampling.s, int) and sampling.s > 0:
            states[model.low].add(sampling.s)
    checked = {}
    for name, model in known.items():
        schedule = _schedule(f"sample.stages.{name}", model, params.stages[name], states[name])
        checked[name] = CheckedModel(model, params.stages[name], schedule, frozenset(states[name]))
    return checked, counts.pop()


def _check_alone(key: str, model: ModelParams, sampling: ModelSamplingParams) -> None:
    if sampling.searched:
        raise CdmError(f"{key} asks for best values of {', '.join(sampling.searched)}; they are not filled in")
    if sampling.guidance_scale != 1 and model.class_dropout == 0:
        raise CdmError(f"{key}.guidance_scale is {sampling.guidance_scale}; train with class_dropout > 0 for that")
    if sampling.variance == "large" and model.diffusion.learned_variances:
        raise CdmError(f"{key}.variance is large, but the model learned its variances; leave it out")
    again, trained = sampling.resample_from, model.diffusion.timesteps
    if again is not None and again > trained:
        raise CdmError(f"{key}.resample_from is {again}; the model was trained on {trained} steps")


def _check_low(name: str, low: str, models: Mapping[str, Path], known: Mapping[str, ModelParams]) -> None:
    """Refuse a model whose low model is missing, makes another size, or was trained on other images."""
    if low not in known:
        raise CdmError(
            f"{models[name]}: {name} was trained on top of {low}, which is not in the cascade {sorted(known)}; "
            f"give the weights of {low} too"
        )
    wanted, made = known[name].low_resolution, known[low].resolution
    if made != wanted:
        raise CdmError(f"{name} was trained on {wanted}-pixel inputs, but {low} makes {made} pixels")
    if isinstance(known[name], PretrainedModelParams):  # published weights carry no hash of their data
        return
    own, below = (read_data_hash(models[n]) for n in (name, low))
    if own is None or below is None:
        log.warning("%s or %s does not say what data it was trained on; their fit is not checked", name, low)
    elif own != below:
        raise CdmError(
            f"{models[name]} was trained on other images than {models[low]}, whose samples it continues "
            f"(hash of the 256-pixel file {own[:12]}, not {below[:12]}); train both on one data set"
        )


def check_augmentation(
    key: str, name: str, model: ModelParams, sampling: ModelSamplingParams, low: DiffusionParams | None = None
) -> None:
    """Refuse a blur or s that the model was not trained for, or that a truncated ``low`` counts on another process."""
    augmentation, kind, s = model.augmentation, model.augmentation.kind, sampling.s
    if sampling.blur > 0 and kind != "blur":
        raise CdmError(f"{key}.blur is {sampling.blur}; {name} was trained without blur, so use blur: 0")
    assert isinstance(s, int)
    if not isinstance(augmentation, GaussianAugmentation):
        if s > 0:
            raise CdmError(f"{key}.s is {s}; {name} was trained with augmentation {kind}, which knows only s: 0")
        return
    fixed, largest = augmentation.s, augmentation.s_max
    if s > largest or (fixed is not None and s != fixed):
        allowed = f"s: {fixed}" if fixed is not None else f"s: 0 to {largest}"
        raise CdmError(f"{key}.s is {s}; {name} was trained for {allowed}")
    if low is not None and sampling.truncated and s > 0 and _process(low) != _process(augmentation):
        raise CdmError(
            f"{key}.truncated needs {name}'s augmentation to count s on {model.low}'s own process "
            f"({low.schedule}, {low.timesteps} steps); "
            f"it was trained on {augmentation.schedule}, {augmentation.timesteps}"
        )


def _process(params: DiffusionParams | GaussianAugmentation) -> tuple[object, ...]:
    """What decides a forward process."""
    ends = (params.beta_start, params.beta_end) if params.schedule == "linear" else ()
    return params.timesteps, params.schedule, *ends


def _schedule(key: str, model: ModelParams, sampling: ModelSamplingParams, states: set[int]) -> ReverseSchedule:
    """The noise levels to visit, among them those of the states z_s and of ``resample_from``."""
    process, continuous = build_process(model.diffusion), model.diffusion.noise_conditioning == "continuous"
    assert not isinstance(sampling.steps, str)
    if sampling.schedule == "train":
        visit = {s - 1 for s in (*states, sampling.resample_from) if s is not None}
        try:
            schedule = ReverseSchedule.respaced(process, sampling.steps, visit, continuous)
        except ValueError as error:
            raise CdmError(f"{key}: {error}") from None
        _warn_of_beginning(f"{key}.schedule", schedule, process, "train with a larger diffusion.beta_end")
        return schedule
    if not continuous:
        raise CdmError(
            f"{key}.schedule is {sampling.schedule}, but the model is conditioned on timesteps and "
            "knows only its training schedule; use schedule: train, or train it with noise_conditioning: continuous"
        )
    if states:
        raise CdmError(
            f"{key}.schedule is {sampling.schedule}, but a higher model is truncated at a step of the "
            "training schedule; use schedule: train there, or truncated: false above"
        )
    steps = sampling.steps or process.num_timesteps
    ends = end_points(sampling.schedule, steps, process.alphas_cumprod, sampling.beta_start, sampling.beta_end)
    schedule = ReverseSchedule.continuous(inference_alphas_cumprod(sampling.schedule, steps, *ends))
    betas = "" if sampling.schedule == "cosine" else f", beta_start {ends[0]:.3g}, beta_end {ends[1]:.3g}"
    remedy = "use schedule: train, or linear, quadratic or log without a beta_end, which all begin there"
    _warn_of_beginning(f"{key}.schedule ({sampling.schedule}, {steps} steps{betas})", schedule, process, remedy)
    return schedule


def _warn_of_beginning(what: str, schedule: ReverseSchedule, process: DiffusionProcess, remedy: str) -> None:
    """Say so if a schedule begins where images are not noise yet, or beyond what the network was trained on."""
    first, trained = float(schedule.alphas_cumprod[0]) ** 0.5, float(process.alphas_cumprod[-1]) ** 0.5
    if first > _MOST_SIGNAL:
        reason = f"sampling starts from noise alone where {first:.0%} of an image should be left"
    elif first < trained * (1 - 1e-6):
        reason = "the network was never trained on images so noisy"
    else:
        return
    numbers = f"begins at sqrt(alphas_cumprod) {first:.4f}; training ended at {trained:.4f}"
    log.warning("%s %s: %s. Remedy: %s", what, numbers, reason, remedy)
