"""Reverse processes. Step i = 0 is the noisiest; the state before step i is a draw at ``alphas_cumprod[i]``.

A model here is ``model(x, noise_cond) -> output`` with class, low-resolution input and augmentation level already
bound; output is eps (B, C, H, W), or eps then v (B, 2C, H, W) with learned variances. ``noise(i)`` returns the
standard normal tensor of step i. No function here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

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
        alphas_cumprod_prev: (N,) float64 level after each step; the last is 1.
        timesteps: (N,) index t of each level, or -1 where the level is not one of the training schedule.
    """

    noise_cond: Tensor
    alphas_cumprod: Tensor
    alphas_cumprod_prev: Tensor
    timesteps: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    @classmethod
    def respaced(
        cls, process: DiffusionProcess, steps: int | None = None, visit: Iterable[int] = (), continuous: bool = False
    ) -> ReverseSchedule:
        """Evenly spaced indices of the training schedule, both ends included (Improved DDPM, section 4).

        Args:
            process: the training process.
            steps: number of reverse steps; None visits every index.
            visit: indices that must be among them; each replaces its nearest neighbour (or is added to a full grid).
            continuous: condition on sqrt(alphas_cumprod) rather than on t.

        Raises:
            ValueError: more steps than the process has, or an index outside it.
        """
        total = process.num_timesteps
        steps = total if steps is None else steps
        if not 1 <= steps <= total:
            raise ValueError(f"steps is {steps}; the training process has {total}, so choose 1 to {total}")
        indices = (
            torch.linspace(0, total - 1, steps, dtype=torch.float64).round().long()
            if steps > 1
            else torch.tensor([total - 1])
        )
        kept = set(indices.tolist())
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
        return cls(cond.float(), levels, torch.cat((levels[1:], levels.new_ones(1))), tuple(order))

    @classmethod
    def continuous(cls, alphas_cumprod: Tensor) -> ReverseSchedule:
        """Any levels, for a model conditioned on sqrt(alphas_cumprod); ``alphas_cumprod`` (N,) float64, decreasing."""
        levels = alphas_cumprod.flip(0)
        return cls(levels.sqrt().float(), levels, torch.cat((levels[1:], levels.new_ones(1))), (-1,) * len(levels))

    def below(self, t: int) -> ReverseSchedule:
        """The steps whose state is at index t or cleaner."""
        first = next(i for i, step in enumerate(self.timesteps) if step <= t)
        return replace(
            self,
            noise_cond=self.noise_cond[first:],
            alphas_cumprod=self.alphas_cumprod[first:],
            alphas_cumprod_prev=self.alphas_cumprod_prev[first:],
            timesteps=self.timesteps[first:],
        )


def _predict(
    model: Model, x: Tensor, cond: Tensor, a: Tensor, b: Tensor, clip: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """x_start and its consistent eps, and v; a = sqrt(abar), b = sqrt(1 - abar)."""
    output = model(x, cond.expand(len(x))).float()
    eps, v = output.chunk(2, dim=1) if output.shape[1] == 2 * x.shape[1] else (output, None)
    x_start = (x - b * eps) / a
    if clip:
        x_start = x_start.clamp(-1, 1)
        eps = (x - a * x_start) / b
    return x_start, eps, v


@torch.no_grad()
def ancestral(
    model: Model,
    x_T: Tensor,
    schedule: ReverseSchedule,
    noise: Noise,
    clip_x_start: bool = True,
    variance: str = "small",
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling (DDPM algorithm 2) over any schedule.

    Args:
        model: see the module.
        x_T: (B, C, H, W) float32 noise.
        schedule: levels to visit.
        noise: draws; not asked for at the last step.
        clip_x_start: clamp the predicted image to [-1, 1].
        variance: of the steps where the model does not give one: "small" is beta-tilde, "large" is beta.
        callback: called as ``callback(i, x)`` with the state before every step.

    Returns:
        (B, C, H, W) float32 samples.
    """
    now, prev = schedule.alphas_cumprod, schedule.alphas_cumprod_prev
    beta = 1 - now / prev
    beta_tilde = beta * (1 - prev) / (1 - now)
    # The last beta-tilde is 0; no noise is added there, so any finite log will do.
    log_small = torch.where(beta_tilde > 0, beta_tilde, beta).log()
    rows = torch.stack(
        (
            now.sqrt(),
            (1 - now).sqrt(),
            beta * prev.sqrt() / (1 - now),
            (1 - prev) * (now / prev).sqrt() / (1 - now),
            log_small,
            beta.log(),
            (beta_tilde if variance == "small" else beta).sqrt(),
        ),
        dim=1,
    ).to(x_T.device, torch.float32)
    cond, x, last = schedule.noise_cond.to(x_T.device), x_T, len(schedule) - 1
    for i, (a, b, on_start, on_x, low, high, sigma) in enumerate(map(torch.unbind, rows.unbind())):
        if callback is not None:
            callback(i, x)
        x_start, _, v = _predict(model, x, cond[i], a, b, clip_x_start)
        x = on_start * x_start + on_x * x
        if i < last:
            if v is not None:
                fraction = (v + 1) / 2
                sigma = torch.exp(0.5 * (fraction * high + (1 - fraction) * low))
            x = x + sigma * noise(i)
    return x


@torch.no_grad()
def ddim(
    model: Model,
    x_T: Tensor,
    schedule: ReverseSchedule,
    noise: Noise,
    clip_x_start: bool = True,
    eta: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM (Song et al. 2021, equations 12 and 16); ``eta`` 0 is deterministic, 1 matches ancestral variances."""
    now, prev = schedule.alphas_cumprod, schedule.alphas_cumprod_prev
    sigma = eta * ((1 - prev) / (1 - now)).sqrt() * (1 - now / prev).sqrt()
    rows = torch.stack(
        (now.sqrt(), (1 - now).sqrt(), prev.sqrt(), (1 - prev - sigma**2).clamp_min(0).sqrt(), sigma), dim=1
    ).to(x_T.device, torch.float32)
    cond, x, last = schedule.noise_cond.to(x_T.device), x_T, len(schedule) - 1
    for i, (a, b, a_prev, on_eps, s) in enumerate(map(torch.unbind, rows.unbind())):
        if callback is not None:
            callback(i, x)
        x_start, eps, _ = _predict(model, x, cond[i], a, b, clip_x_start)
        x = a_prev * x_start + on_eps * eps
        if eta > 0 and i < last:
            x = x + s * noise(i)
    return x


@torch.no_grad()
def dpmpp_2m(
    model: Model,
    x_T: Tensor,
    schedule: ReverseSchedule,
    noise: Noise | None = None,
    clip_x_start: bool = True,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): deterministic, second order, for about 20 steps."""
    now, prev = schedule.alphas_cumprod, schedule.alphas_cumprod_prev
    half_log_snr = 0.5 * torch.log(now / (1 - now))
    h = half_log_snr[1:] - half_log_snr[:-1]
    # The last step goes to the clean image, at infinite log-SNR, and the first has no history: first order there.
    correction = torch.zeros_like(now)
    if len(now) > 2:
        correction[1:-1] = 0.5 * h[1:] / h[:-1]
    rows = torch.stack(
        (
            now.sqrt(),
            (1 - now).sqrt(),
            ((1 - prev) / (1 - now)).sqrt(),
            prev.sqrt() - now.sqrt() * ((1 - prev) / (1 - now)).sqrt(),
            correction,
        ),
        dim=1,
    ).to(x_T.device, torch.float32)
    cond, x = schedule.noise_cond.to(x_T.device), x_T
    previous: Tensor | None = None
    for i, (a, b, on_x, on_start, c) in enumerate(map(torch.unbind, rows.unbind())):
        if callback is not None:
            callback(i, x)
        x_start, _, _ = _predict(model, x, cond[i], a, b, clip_x_start)
        estimate = x_start if previous is None else x_start + c * (x_start - previous)
        x = on_x * x + on_start * estimate
        previous = x_start
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
) -> Tensor:
    """Take more sampling steps (Table 2a): noise finished samples to index t, then run the reverse process again.

    Args:
        model: see the module.
        samples: (B, C, H, W) finished samples.
        process: the training process.
        schedule: a respaced schedule that visits t.
        t: index to noise to.
        forward_noise: (B, C, H, W).
        noise: draws of the reverse steps, numbered from 0 at t.
        clip_x_start: as in :func:`ancestral`.

    Raises:
        ValueError: the schedule does not visit t.
    """
    if t not in schedule.timesteps:
        raise ValueError(f"the schedule does not visit t = {t}; build it with visit=[{t}]")
    x = process.q_sample(samples, torch.full((len(samples),), t, device=samples.device), forward_noise)
    return ancestral(model, x, schedule.below(t), noise, clip_x_start)
