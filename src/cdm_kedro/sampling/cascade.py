"""The cascade at inference: models lowest first, each conditioned on the samples of the one below (section 2.3)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cdm_kedro.diffusion.pixels import to_uint8
from cdm_kedro.errors import CdmError
from cdm_kedro.model.execution import usable_precision
from cdm_kedro.model.load import find_models, load_net, read_description
from cdm_kedro.params.model import GaussianAugmentation, ModelParams
from cdm_kedro.params.sampling import ModelSamplingParams, SamplingParams
from cdm_kedro.sampling.batch import fitting_batch
from cdm_kedro.sampling.checks import CheckedModel, check_augmentation, check_cascade
from cdm_kedro.sampling.conditioning import RealImages, StoredSamples
from cdm_kedro.sampling.model import LoadedModel, Progress
from cdm_kedro.sampling.stream import Estimate, Watch, iterate, visited, watched

Labels: TypeAlias = Tensor | Sequence[int]


@dataclass
class Samples:
    """What one batch through the cascade makes, by model: (B, 3, H, W) uint8 samples, or float32 states z_s."""

    images: dict[str, Tensor] = field(default_factory=dict)
    low: dict[str, Tensor] = field(default_factory=dict)  # the clean uint8 images that a model's input was made from
    states: dict[tuple[str, int], Tensor] = field(default_factory=dict)  # by model and s


def default_sampling(params: ModelParams) -> ModelSamplingParams:
    """Choose how a model is sampled when nobody says: at most 250 ancestral steps, 100 with continuous noise levels.

    The conditioning augmentation is the model's own fixed s, or an eighth of its range, as in the paper's Table 3a
    (501 of 4000). It is non-truncated (section 3.3).
    """
    most = 100 if params.diffusion.noise_conditioning == "continuous" else 250
    s = 0
    if isinstance(params.augmentation, GaussianAugmentation):
        fixed = params.augmentation.s
        s = fixed if fixed is not None else min(params.augmentation.timesteps // 8, params.augmentation.s_max)
    return ModelSamplingParams.model_validate({"steps": min(most, params.diffusion.timesteps), "s": s})


class Cascade:
    """A cascade of loaded models, ready to sample; :meth:`from_files` builds it.

    Attributes:
        models: loaded models, lowest first.
        job_size: number of samples of the whole job, where it is sampled batch by batch. A compiled network sees a
            last, smaller batch filled up to the size that this number gives, for it would be compiled anew else.
    """

    def __init__(
        self,
        models: list[LoadedModel],
        num_classes: int,
        params: SamplingParams,
        device: torch.device,
        lowest: int,
        low_images: Mapping[str, Tensor | RealImages | StoredSamples],
    ) -> None:
        self.models, self.num_classes, self.params, self.device = models, num_classes, params, device
        self.job_size = 0
        self._lowest, self._low_images = lowest, low_images
        if params.batch_size != "auto":
            self.batch_size = params.batch_size

    @classmethod
    def from_files(
        cls,
        models: Mapping[str, Path] | Path | str,
        params: SamplingParams | None = None,
        device: torch.device | None = None,
        *,
        real: Mapping[str, Path] | None = None,
        stored: StoredSamples | None = None,
        states_at: Mapping[str, Collection[int]] | None = None,
        target: str | None = None,
    ) -> "Cascade":
        """Load a cascade.

        Args:
            models: names and weights, lowest first; or a folder of ``<model>.safetensors``.
            params: sampling parameters with one entry a model; default :func:`default_sampling` for each.
            device: default is the GPU where there is one.
            real: ``train_<resolution>`` and ``val_<resolution>`` FFCV files, for models conditioned on real images.
            stored: samples of one model, which are read instead of made.
            states_at: model to the values of s whose states z_s :meth:`run` is to return.
            target: the model whose samples are wanted; those that it does not need are left out. Default: all models.

        Raises:
            CdmError: models and parameters do not fit together, or a file does not hold a model.
        """
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        models = find_models(Path(models)) if isinstance(models, (str, Path)) else models
        if params is None:
            defaults = {name: default_sampling(read_description(path)[0]) for name, path in models.items()}
            params = SamplingParams.model_validate({"num_samples": 1, "stages": defaults})
        checked, num_classes = check_cascade(models, params, real, states_at)
        wanted = _needed_for(target, checked, stored) if target else set(checked)
        precision = usable_precision(params.precision, device)
        compile_nets = params.compile if params.compile is not None else device.type == "cuda"
        loaded: list[LoadedModel] = []
        low_images: dict[str, Tensor | RealImages | StoredSamples] = {}
        for number, (name, model) in enumerate(checked.items()):
            if name not in wanted:
                continue
            net = load_net(models[name], model.params, num_classes, device, precision)
            settings = model.params, model.sampling, model.schedule
            loaded.append(LoadedModel(name, number, *settings, net, precision, compile_nets, model.states_at))
            split, low = model.sampling.conditioning, model.params.low
            if low is not None and split != "generated":
                low_images[name] = RealImages((real or {})[f"{split}_{model.params.low_resolution}"], num_classes)
            elif stored is not None and low == stored.model:
                low_images[name] = stored
        lowest = min(model.params.resolution for model in checked.values())
        return cls(loaded, num_classes, params, device, lowest, low_images)

    @cached_property
    def batch_size(self) -> int:
        """Images at once at the lowest resolution of the cascade; "auto" is measured when first asked for."""
        return fitting_batch(self.models, self._lowest, self.device)

    def work(self) -> dict[str, float]:
        """Estimate the relative cost of one sample of each model: network evaluations times pixels."""
        return {model.name: float(model.evaluations * model.params.resolution**2) for model in self.models}

    def sample(
        self, labels: Labels, indices: Tensor | None = None, seed: int = 0, progress: Progress | None = None
    ) -> dict[int, Tensor]:
        """Sample images of given classes with every model.

        Args:
            labels: (B,) classes.
            indices: (B,) int64 sample numbers, which with ``seed`` decide the noise. Default: 0 .. B - 1.
            progress: called as ``progress(model, images)`` after every evaluation of a network.

        Returns:
            Resolution to (B, 3, H, W) uint8 on the cascade's device.

        Raises:
            ValueError: a label is not one of the classes.
        """
        images = self.run(*self._numbered(labels, indices), seed, progress).images
        return {model.params.resolution: images[model.name] for model in self.models}

    def upsample(
        self, images: Tensor, labels: Labels, s: int | None = None, seed: int = 0, indices: Tensor | None = None
    ) -> dict[int, Tensor]:
        """Enlarge images by the models above their resolution; those below are not run.

        Every model is conditioned the non-truncated way (section 3.3), for images that were not sampled have no
        reverse process to stop. The result, and arguments that are not listed, are as in :meth:`sample`.

        Args:
            images: (B, 3, h, h) uint8 in 0 .. 255, where some model takes h pixels.
            labels: (B,) classes, which models without class conditioning do not see.
            s: conditioning augmentation of the models trained with Gaussian noise, in steps of the low model's
                forward process; 0 trusts every pixel, more lets the model invent more. Default: as the cascade is set.

        Raises:
            ValueError: a label is not one of the classes, or there is not one for each image.
            CdmError: no model takes images of this shape and type, or none that runs was trained for s.
        """
        labels, indices = self._numbered(labels, indices)
        above = self._above(images, labels, s)
        made = above.run(labels, indices, seed).images
        return {model.params.resolution: made[model.name] for model in above.models}

    def stream(
        self,
        labels: Labels,
        indices: Tensor | None = None,
        seed: int = 0,
        images: Tensor | None = None,
        s: int | None = None,
    ) -> Iterator[Estimate]:
        """Do what :meth:`sample` does, or with ``images`` :meth:`upsample`, and yield what every reverse step sees.

        The models work one step ahead of the reader, in a thread of their own, and stop where the iterator is closed.
        Arguments and errors are those of the two methods.
        """
        labels, indices = self._numbered(labels, indices)
        cascade = self if images is None else self._above(images, labels, s)
        return iterate(lambda emit: cascade.run(labels, indices, seed, watch=emit))

    def _numbered(self, labels: Labels, indices: Tensor | None) -> tuple[Tensor, Tensor]:
        """Labels, checked, and sample numbers."""
        labels = torch.as_tensor(labels, dtype=torch.int64)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(f"labels must lie in 0 .. {self.num_classes - 1}; got {labels.unique().tolist()[:10]}")
        return labels, torch.arange(len(labels)) if indices is None else indices

    def _above(self, images: Tensor, labels: Tensor, s: int | None) -> "Cascade":
        """The models that enlarge these images, conditioned on them, without truncation."""
        if len(labels) != len(images):
            raise ValueError(f"there are {len(images)} images and {len(labels)} labels; give one for each")
        sides = sorted({m.params.low_resolution for m in self.models if m.params.low_resolution is not None})
        side = images.shape[-1]
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != (3, side, side) or side not in sides:
            raise CdmError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; these models enlarge uint8 (B, 3, h, h) "
                f"with h one of {sides}"
            )
        models: dict[str, LoadedModel] = {}
        low_images: dict[str, Tensor | RealImages | StoredSamples] = {}
        noised = False
        for model in self.models:
            if model.params.low not in models:
                if model.params.low_resolution != side:
                    continue
                low_images[model.name] = images
            changes: dict[str, Any] = {"truncated": False, "conditioning": "generated"}
            if s is not None and isinstance(model.params.augmentation, GaussianAugmentation):
                changes["s"], noised = s, True
            models[model.name] = model = copy(model)
            model.sampling, model.states_at = model.sampling.model_copy(update=changes), frozenset()
            check_augmentation(f"upsample {model.name}", model.name, model.params, model.sampling)
        if s is not None and not noised:
            raise CdmError(f"s is {s}, but {', '.join(models)} were trained without Gaussian noise; leave s out")
        above = Cascade(list(models.values()), self.num_classes, self.params, self.device, self._lowest, low_images)
        above.batch_size = self.batch_size
        return above

    @torch.no_grad()
    def run(
        self, labels: Tensor, indices: Tensor, seed: int, progress: Progress | None = None, watch: Watch | None = None
    ) -> Samples:
        """Sample every loaded model, and return with the samples what conditioned them; arguments as in `sample`.

        ``watch`` is called with every reverse step's :class:`Estimate`.
        """
        made = Samples()
        own_labels, own_indices = labels.to(self.device), indices.to(self.device)
        for model in self.models:
            low, z_s = self._low(model, labels, indices, made)
            # As many pixels at once as at the lowest resolution, but at least one image.
            most, count = max(1, self.batch_size * self._lowest**2 // model.params.resolution**2), len(labels)
            images: list[Tensor] = []
            states: dict[int, list[Tensor]] = {s: [] for s in model.states_at}
            for start in range(0, count, most):
                real = min(most, count - start)
                # The job's size alone decides the filling, so that a resumed job rounds as an uninterrupted one.
                filled = min(most, max(count, self.job_size)) if model.compiled else real
                rows = torch.arange(start, start + filled, device=self.device).clamp_max_(start + real - 1)
                condition: tuple[Tensor | None, Tensor | None] = (None, None)
                if low is not None:
                    condition = model.condition(low[rows], None if z_s is None else z_s[rows], own_indices[rows], seed)
                with watched(model, slice(start, start + real), watch):
                    x, at = model.sample(own_labels[rows], own_indices[rows], seed, *condition, progress)
                images.append(to_uint8(x[:real]))
                if watch is not None:
                    steps = len(visited(model))
                    watch(Estimate(model.name, steps, steps, slice(start, start + real), images[-1], images[-1]))
                for s, parts in states.items():
                    parts.append(at[s][:real])
            # The next model is conditioned on the 8-bit samples that are stored, as in training.
            made.images[model.name] = torch.cat(images)
            made.states |= {(model.name, s): torch.cat(parts) for s, parts in states.items()}
        return made

    def _low(
        self, model: LoadedModel, labels: Tensor, indices: Tensor, made: Samples
    ) -> tuple[Tensor | None, Tensor | None]:
        """A model's clean low-resolution images, and the states z_s below it where it is truncated."""
        if model.params.low is None:
            return None, None
        outside = self._low_images.get(model.name)
        low = made.images[model.params.low] if outside is None else outside
        low = low if isinstance(low, Tensor) else low.images(labels, indices)
        made.low[model.name] = low = low.to(self.device)
        if not model.truncated:
            return low, None
        if isinstance(outside, StoredSamples):
            return low, outside.states(model.s, indices).to(self.device)
        return low, made.states[model.params.low, model.s]


def _needed_for(target: str, checked: Mapping[str, CheckedModel], stored: StoredSamples | None) -> set[str]:
    """The target and the models below it, down to one that real or stored images condition."""
    needed, name = {target}, target
    while checked[name].sampling.conditioning == "generated":
        low = checked[name].params.low
        if low is None or (stored is not None and low == stored.model):
            break
        needed.add(low)
        name = low
    return needed
