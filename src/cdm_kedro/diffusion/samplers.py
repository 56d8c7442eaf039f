"""Reverse processes, from noise to images; each sampler's loop body is its paper's update.

A model here is ``model(x, noise_cond) -> output`` with class, low-resolution input and augmentation level already
bound; output is eps (B, C, H, W), or eps then v (B, 2C, H, W) with learned variances. ``noise(i)`` returns the standard
normal tensor of step i, and step 0 is the noisiest. In the updates, ``abar`` is the level of the state x before the
step and ``prev`` that of the state after it, which is the paper's index t - 1. No function here waits for the device.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor

from cdm_kedro.diffusion.process import DiffusionProcess

Model = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]
Callback = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class ReverseSchedule:
    """Levels that a reverse process visits.

    Attributes:
        noise_cond: (N,) float32 what the model is conditioned on: t, or sqrt(alphas_cumprod).
        alphas_cumprod: (N,) float64 level of the state before each step, increasing.
        timesteps: (N,) index t of each level, or -1 where the level is not one of the training schedule.
    """

    noise_cond: Tensor
    alphas_cumprod: Tensor
    timesteps: tuple[int, ...]

    @property
    def alphas_cumprod_prev(self) -> Tensor:
        """(N,) float64 level after each step; the last is 1."""
        return torch.cat((self.alphas_cumprod[1:], torch.ones(1, dtype=torch.float64)))

    def __len__(self) -> int:
        return len(self.timesteps)

    @classmethod
    def respaced(
        cls, process: DiffusionProcess, steps: int | None = None, visit: Iterable[int] = (), continuous: bool = False
    ) -> "ReverseSchedule":
        """Evenly spaced indices of the training schedule, both ends included (Improved DDPM, section 4).

        Raises ValueError for more steps than the process has, or an index outside it.

        Args:
            steps: number of reverse steps; None visits every index.
            visit: indices that must be among them; each replaces its nearest neighbour (or is added to a full grid).
            continuous: condition on sqrt(alphas_cumprod) rather than on t.
        """
        total = process.num_timesteps
        steps = total if steps is None else steps
        if not 1 <= steps <= total:
            raise ValueError(f"steps is {steps}; the training process has {total}, so choose 1 to {total}")
        grid = torch.linspace(0, total - 1, steps, dtype=torch.float64).round().long().tolist()
        kept = set(grid) if steps > 1 else {total - 1}
        fixed = sorted(set(visit))
        for t in fixed:
            if not 0 <= t < total:
                raise ValueError(f"index {t} lies outside the process of {total} steps")
            if t not in kept:
                movable = [k for k in kept if k not in fixed and 0 < k < total - 1]
                if movable:
                    kept.remove(min(movable, key=lambda k: abs(k - t)))
                kept.add(t)
        order = sorted(kept, reverse=True)
        levels = process.alphas_cumprod[torch.tensor(order)]
        cond = levels.sqrt() if continuous else torch.tensor(order, dtype=torch.float64)
        return cls(cond.float(), levels, tuple(order))

    @classmethod
    def continuous(cls, alphas_cumprod: Tensor) -> "ReverseSchedule":
        """Any levels, for a model conditioned on sqrt(alphas_cumprod); ``alphas_cumprod`` (N,) float64, decreasing."""
        levels = alphas_cumprod.flip(0)
        return cls(levels.sqrt().float(), levels, (-1,) * len(levels))

    def below(self, t: int) -> "ReverseSchedule":
        """The steps whose state is at index t or cleaner."""
        first = next(i for i, step in enumerate(self.timesteps) if step <= t)
        return ReverseSchedule(self.noise_cond[first:], self.alphas_cumprod[first:], self.timesteps[first:])

    def steps(self, device: torch.device) -> Iterator[tuple[Tensor, Tensor, Tensor, float, float]]:
        """The steps, noisiest first: from x = a x_0 + b eps at level abar to the level prev.

        The model's condition, a and b are () float32 tensors, which one transfer brings to the device for all steps.
        """
        abar = self.alphas_cumprod
        columns = torch.stack((self.noise_cond.double(), abar.sqrt(), (1 - abar).sqrt()), dim=1)
        rows = columns.to(device, torch.float32).unbind()
        for row, now, prev in zip(rows, abar.tolist(), self.alphas_cumprod_prev.tolist(), strict=True):
            cond, a, b = row.unbind()
            yield cond, a, b, now, prev


def _predict(
    model: Model, x: Tensor, cond: Tensor, a: Tensor, b: Tensor, clip: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The image x_0 that the model sees in x, the eps that belongs to that image, and v."""
    output = model(x, cond.expand(len(x))).float()
    eps, v = output.chunk(2, dim=1) if output.shape[1] == 2 * x.shape[1] else (output, None)
    x_0 = (x - b * eps) / a
    if clip:
        x_0 = x_0.clamp(-1, 1)
        eps = (x - a * x_0) / b
    return x_0, eps, v


@torch.no_grad()
def ancestral(
    model: Model,
    x_T: Tensor,
    schedule: ReverseSchedule,
    noise: Noise,
    clip_x_start: bool = True,
    variance: str = "small",
    callback: Callback = lambda i, x: None,
) -> Tensor:
    """Ancestral sampling, x_{t-1} ~ N(mu(x_t, t), Sigma(x_t, t)) (section 2.1; DDPM, equation 7 and algorithm 2).

    Returns (B, C, H, W) float32 samples.

    Args:
        x_T: (B, C, H, W) float32 noise.
        noise: draws; not asked for at the last step.
        clip_x_start: clamp the predicted image to [-1, 1].
        variance: of the steps where the model does not give one: "small" is beta-tilde (WaveGrad),
            "large" is beta (SR3, algorithm 2).
        callback: called as ``callback(i, x)`` with the state before every step.
    """
    x = x_T
    for i, (cond, a, b, abar, prev) in enumerate(schedule.steps(x.device)):
        callback(i, x)
        x_0, _, v = _predict(model, x, cond, a, b, clip_x_start)
        alpha, beta = abar / prev, 1 - abar / prev
        x = beta * sqrt(prev) / (1 - abar) * x_0 + (1 - prev) * sqrt(alpha) / (1 - abar) * x
        if prev == 1:
            break
        beta_tilde = beta * (1 - prev) / (1 - abar)
        if v is None:
            x = x + sqrt(beta_tilde if variance == "small" else beta) * noise(i)
        else:
            share = (v + 1) / 2
            x = x + torch.exp(0.5 * (share * log(beta) + (1 - share) * log(beta_tilde))) * noise(i)
    return x


@torch.no_grad()
def ddim(
    model: Model,
    x_T: Tensor,
    schedule: ReverseSchedule,
    noise: Noise,
    clip_x_start: bool = True,
    eta: float = 0.0,
    callback: Callback = lambda i, x: None,
) -> Tensor:
    """DDIM (Song et al. 2021, equations 12 and 16); ``eta`` 0 is deterministic, 1 has ancestral variances."""
    x = x_T
    for i, (cond, a, b, abar, prev) in enumerate(schedule.steps(x.device)):
        callback(i, x)
        x_0, eps, _ = _predict(model, x, cond, a, b, clip_x_start)
        sigma = eta * sqrt((1 - prev) / (1 - abar)) * sqrt(1 - abar / prev)
        x = sqrt(prev) * x_0 + sqrt(max(1 - prev - sigma**2, 0)) * eps
        if sigma > 0:
            x = x + sigma * noise(i)
    return x


@torch.no_grad()
def dpmpp_2m(
    model: Model,
    x_T: Tensor,
    schedule: ReverseSchedule,
    noise: Noise | None = None,
    clip_x_start: bool = True,
    callback: Callback = lambda i, x: None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): deterministic, second order, for about 20 steps.

    ``h`` is a step in half log-SNR. The first step, which has no history, and the last, which is infinite, are of first
    order.
    """
    x, last, last_h = x_T, None, 0.0
    for i, (cond, a, b, abar, prev) in enumerate(schedule.steps(x.device)):
        callback(i, x)
        x_0, _, _ = _predict(model, x, cond, a, b, clip_x_start)
        estimate = x_0
        if prev < 1:
            h = 0.5 * log(prev / (1 - prev)) - 0.5 * log(abar / (1 - abar))
            estimate = x_0 if last is None else x_0 + 0.5 * h / last_h * (x_0 - last)
            last, last_h = x_0, h
        shrink = sqrt((1 - prev) / (1 - abar))
        x = shrink * x + (sqrt(prev) - sqrt(abar) * shrink) * estimate
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {"ancestral": ancestral, "ddim": ddim, "dpmpp_2m": dpmpp_2m}


def guided(conditional: Model, unconditional: Model, scale: float) -> Model:
    """Classifier-free guidance (Ho & Salimans 2021): eps moves ``scale`` times from unconditional to conditional."""

    def model(x: Tensor, cond: Tensor) -> Tensor:
        with_class, without = conditional(x, cond), unconditional(x, cond)
        channels = x.shape[1]
        eps = without[:, :channels] + scale * (with_class[:, :channels] - without[:, :channels])
        return torch.cat((eps, with_class[:, channels:]), dim=1)

    return model


def renoise_and_resample(
    model: Model,
    samples: Tensor,
    process: DiffusionProcess,
    schedule: ReverseSchedule,
    t: int,
    forward_noise: Tensor,
    noise: Noise,
    clip_x_start: bool = True,
    variance: str = "small",
) -> Tensor:
    """Take more sampling steps (Table 2a): noise finished samples to index t, then run the reverse process again.

    Raises ValueError if the schedule does not visit t.

    Args:
        samples: (B, C, H, W) finished samples.
        schedule: a respaced schedule that visits t.
        t: index to noise to.
        forward_noise: (B, C, H, W).
        noise: draws of the reverse steps, numbered from 0 at t.
        clip_x_start: as in :func:`ancestral`, and so is ``variance``.
    """
    if t not in schedule.timesteps:
        raise ValueError(f"the schedule does not visit t = {t}; build it with visit=[{t}]")
    x = process.q_sample(samples, torch.full((len(samples),), t, device=samples.device), forward_noise)
    return ancestral(model, x, schedule.below(t), noise, clip_x_start, variance)
