"""One model of the cascade at inference: its network, what conditions it, and its reverse process."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cdm_kedro.diffusion.augmentation import gaussian_blur, truncated
from cdm_kedro.diffusion.pixels import to_range
from cdm_kedro.diffusion.samplers import SAMPLERS, Model, ReverseSchedule, guided, renoise_and_resample
from cdm_kedro.model.build import build_augmentation, build_process
from cdm_kedro.model.execution import compiled, memory_layout
from cdm_kedro.params.model import BlurAugmentation, ModelParams
from cdm_kedro.params.sampling import ModelSamplingParams
from cdm_kedro.sampling.philox import normal

Progress = Callable[[str, int], object]  # called as ``progress(model, images)`` after every evaluation of a network

_START, _AUGMENT, _REVERSE = 0, 1, 2
"""Numbers of a model's draws: x_T, then the conditioning augmentation, then one for each reverse step."""

_WAYS = ({"dynamic": False, "mode": "reduce-overhead"}, {"dynamic": False})  # to compile; with CUDA graphs, and without


@dataclass(eq=False)
class LoadedModel:
    """A model of the cascade in memory, with the settings that it is sampled by; none of them is ``best``."""

    name: str
    number: int  # its position among all models of the cascade, on which its noise depends
    params: ModelParams
    sampling: ModelSamplingParams
    schedule: ReverseSchedule
    net: nn.Module  # in eval mode, on the device where it is to run
    precision: str = "fp32"  # "bf16" evaluates the network under autocast, "fp32" does not
    compile: bool = False  # whether to compile the network; on a GPU with CUDA graphs, where ``graphs`` are wanted
    states_at: Collection[int] = ()  # values of s at which :meth:`sample` keeps the state z_s
    graphs: bool = True

    def __post_init__(self) -> None:
        self.process = build_process(self.params.diffusion)
        self.augmentation = build_augmentation(self.params.augmentation)
        self.compiled, self.device = self.compile, next(self.net.parameters()).device
        self.forward: Callable[..., Tensor] = self.net
        if self.compile:
            ways = _WAYS if self.device.type == "cuda" and self.graphs else _WAYS[1:]
            self.forward = compiled(self.net, f"{self.name}'s network", ways, partial(self._lay_out, compiled=False))
        self._lay_out(self.compile)

    def _lay_out(self, compiled: bool) -> None:
        self.layout = memory_layout(self.device, compiled)
        self.net.to(memory_format=self.layout)

    @property
    def s(self) -> int:
        """The conditioning augmentation at inference, in steps of the low model's forward process."""
        assert isinstance(self.sampling.s, int)
        return self.sampling.s

    @property
    def truncated(self) -> bool:
        """Whether the model continues the state z_s of the model below instead of its finished samples."""
        return self.sampling.truncated and self.s > 0

    @property
    def evaluations(self) -> int:
        """Evaluations of the network that one sample takes."""
        again = self.sampling.resample_from
        steps = len(self.schedule) + (0 if again is None else len(self.schedule.below(again - 1)))
        return steps * (1 if self.sampling.guidance_scale == 1 else 2)

    def autocast(self) -> torch.autocast:
        """The context in which the network is evaluated."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def evaluate(self, x: Tensor, cond: Tensor, y: Tensor | None, low: Tensor | None, level: Tensor | None) -> Tensor:
        """Evaluate the network in its memory layout and precision; see `UNet.forward`. Returns float32."""
        with self.autocast():
            out = self.forward(x.contiguous(memory_format=self.layout), cond, y, low, level)
        return out.to(torch.float32, copy=self.compiled)  # a CUDA graph writes over what it returned

    def condition(self, low: Tensor, z_s: Tensor | None, indices: Tensor, seed: int) -> tuple[Tensor, Tensor | None]:
        """Make the network's low-resolution input.

        Truncated conditioning augmentation (section 3.2) takes z_s as it is. The non-truncated one (section 3.3) draws
        z_s ~ q(z_s | z_0) of finished images. Returns (B, 3, h, w) float32 input, in [-1, 1] where it is clean; (B,)
        float32 s, or None for a network without it. ``low``: (B, 3, h, w) uint8 finished images. ``z_s``: (B, 3, h, w)
        float32 state of the model below, for a truncated model. ``indices``: (B,) int64 sample numbers. ``seed``: of
        the run; with the sample numbers it decides the noise.
        """
        if z_s is not None:
            return z_s, torch.full((len(z_s),), float(self.s), device=z_s.device)
        noise = normal(seed, self.number, indices, _AUGMENT, tuple(low.shape[1:])) if self.s > 0 else None
        z_0, blur = to_range(low), self.params.augmentation
        if self.sampling.blur > 0 and isinstance(blur, BlurAugmentation):
            z_0 = gaussian_blur(z_0, torch.full((len(z_0),), self.sampling.blur, device=z_0.device), blur.kernel_size)
        return self.augmentation.sample(z_0, self.s, noise)

    @torch.no_grad()
    def sample(
        self,
        labels: Tensor,
        indices: Tensor,
        seed: int,
        low: Tensor | None = None,
        level: Tensor | None = None,
        progress: Progress | None = None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Run the reverse process.

        Returns (B, 3, H, W) float32 samples, about [-1, 1]; each s of ``states_at`` with its z_s, (B, 3, H, W)
        float32. ``labels``: (B,) int64 classes. ``low`` and ``level``: what :meth:`condition` made, for a
        super-resolution model, of the same ``indices`` and ``seed``.
        """

        def evaluate(y: Tensor | None, x: Tensor, cond: Tensor) -> Tensor:
            out = self.evaluate(x, cond, y, low, level)
            if progress is not None:
                progress(self.name, len(x))
            return out

        settings, shape = self.sampling, (3, self.params.resolution, self.params.resolution)
        draw = partial(normal, seed, self.number, indices, shape=shape)
        model: Model = partial(evaluate, labels if self.params.unet.class_cond else None)
        if settings.guidance_scale != 1:
            model = guided(model, partial(evaluate, None), settings.guidance_scale)
        own: dict[str, dict[str, Any]] = {"ancestral": {"variance": settings.variance}, "ddim": {"eta": settings.eta}}
        reverse = partial(
            SAMPLERS[settings.sampler],
            model,
            draw(_START),
            self.schedule,
            lambda step: draw(_REVERSE + step),
            clip_x_start=settings.clip_x_start,
            **own.get(settings.sampler, {}),
        )
        states = truncated(lambda callback: reverse(callback=callback), self.schedule.timesteps, self.states_at)
        x = states.pop(0)
        if settings.resample_from is not None:
            used = _REVERSE + len(self.schedule)
            x = renoise_and_resample(
                model,
                x.clamp(-1, 1),
                self.process,
                self.schedule,
                settings.resample_from - 1,
                draw(used),
                lambda step: draw(used + 1 + step),
                settings.clip_x_start,
                settings.variance,
            )
        return x, states
