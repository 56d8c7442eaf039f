"""Bits per dimension of real images under each stage and under the (truncated) cascade, equation 3."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.diffusion.likelihood import bound_bits, truncated_cascade_bits
from cdm_kedro.params.likelihood import LikelihoodParams
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.model import LoadedModel
from cdm_kedro.sampling.philox import normal

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cascade_bits(cascade: Cascade, images: Mapping[int, Path], params: LikelihoodParams) -> dict[str, Any]:
    """Bound the bits per dimension of real images.

    A stage's own bound is of p(x_0 | z_s), where z_s ~ q(z_s | z_0) of the stored low-resolution image at the s that
    sampling uses. The cascade's adds what z_0 costs: the whole bound of the low stage where sampling finishes it, its
    part from s up where sampling truncates it. Models of continuous noise levels are bounded at the levels of their
    training schedule.

    Args:
        cascade: loaded models; each stage's ``s``, ``truncated`` and ``clip_x_start`` of sampling are used, and its
            precision.
        images: resolution to FFCV file; the files hold the same images in the same order.
        params: how many images and terms.

    Returns:
        Stage to ``bits_per_dim`` and ``cascade_bits_per_dim``, each with its standard error over images (``_se``),
        ``n``, ``terms`` (drawn an image, besides the decoder's), ``s`` and ``truncated``.

    Raises:
        ValueError: an unknown stage is asked for, or the files are not of the same images.
    """
    stages = _chosen(cascade, params)
    available = min(check_beton(images[stage.params.resolution]).num_samples for stage in stages)
    count = min(available, params.images or available)
    highs = {stage.name: [s for s in stages if s.params.low == stage.name] for stage in stages}
    starts = {stage.name: sorted({0} | {s.s for s in highs[stage.name] if s.sampling.truncated}) for stage in stages}
    terms = {}  # besides the decoder's, which a bound from 0 always has
    for stage in stages:
        for first in starts[stage.name]:
            every = stage.process.num_timesteps - max(first, 1)
            terms[stage.name, first] = min(params.timesteps or every, every)
    own: dict[tuple[str, int], Tensor] = {}
    with tqdm(
        total=count * sum(number + (key[1] == 0) for key, number in terms.items()), desc="likelihood", unit="term"
    ) as bar:
        for stage in stages:
            for position, first in enumerate(starts[stage.name]):
                bar.set_postfix_str(stage.name, refresh=False)
                own[stage.name, first] = torch.cat(
                    [
                        _batch_bits(
                            cascade, stage, images, range(start, min(start + params.batch_size, count)), params,
                            first, terms[stage.name, first], position << 24, bar.update,
                        )
                        for start in range(0, count, params.batch_size)
                    ]
                )  # fmt: skip
    by_name = {stage.name: stage for stage in stages}

    def total(stage: LoadedModel, first: int) -> Tensor:
        bits, low = own[stage.name, first], stage.params.low
        if low is None:
            return bits
        below = total(by_name[low], stage.s if stage.sampling.truncated else 0)
        sides = (by_name[low].params.resolution, stage.params.resolution)
        return truncated_cascade_bits(below, bits, 3 * sides[0] ** 2, 3 * sides[1] ** 2)

    return {
        stage.name: {
            **_mean("bits_per_dim", own[stage.name, 0]),
            **_mean("cascade_bits_per_dim", total(stage, 0)),
            "n": count,
            "terms": terms[stage.name, 0],
            "s": stage.s,
            "truncated": stage.sampling.truncated,
        }
        for stage in stages
    }


def _chosen(cascade: Cascade, params: LikelihoodParams) -> list[LoadedModel]:
    by_name = {stage.name: stage for stage in cascade.models}
    wanted = set(by_name if params.stages is None else params.stages)
    if not wanted or wanted - set(by_name):
        raise ValueError(f"likelihood.stages is {params.stages}; the cascade has {list(by_name)}")
    for stage in reversed(cascade.models):
        if stage.name in wanted and stage.params.low is not None:
            wanted.add(stage.params.low)
    return [stage for stage in cascade.models if stage.name in wanted]


def _mean(name: str, values: Tensor) -> dict[str, float]:
    mean = {name: float(values.mean())}
    return mean | ({f"{name}_se": float(values.std()) / math.sqrt(len(values))} if len(values) > 1 else {})


def _to_tensor(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def _batch_bits(
    cascade: Cascade,
    stage: LoadedModel,
    images: Mapping[int, Path],
    rows: range,
    params: LikelihoodParams,
    first: int,
    terms: int,
    draw: int,
    progress: Callable[[int], Any],
) -> Tensor:
    """Bits per dimension of some images under one stage, terms from ``first`` up: (B,) float64 on the CPU."""
    device, number = cascade.device, stage.number
    pixels, labels = read_beton(images[stage.params.resolution], rows)
    x, y = _to_tensor(pixels, device), torch.from_numpy(labels).to(device)
    indices = torch.arange(rows.start, rows.stop, device=device)
    low = level = None
    if stage.params.low_resolution is not None:
        file = images[stage.params.low_resolution]
        small, same = read_beton(file, rows)
        if not np.array_equal(labels, same):
            raise ValueError(f"{file} and {images[stage.params.resolution]} do not hold the same images in order")
        noise = normal(params.seed, number, indices, 0, small.shape[3:] + small.shape[1:3])
        low, level = stage.augmentation.sample(_to_tensor(small, device), stage.s, noise)
    continuous = stage.params.diffusion.noise_conditioning == "continuous"
    levels = stage.process.alphas_cumprod.sqrt().float().to(device)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        progress(len(x_t))
        with torch.autocast(device.type, torch.bfloat16, enabled=cascade.params.precision == "bf16"):
            cond = levels[t] if continuous else t.float()
            return stage.forward(x_t, cond, y if stage.params.unet.class_cond else None, low, level).float()

    uniforms = torch.special.ndtr(normal(params.seed, number, indices, draw + 1, (terms,)).double()).T
    bits = bound_bits(
        model,
        stage.process,
        x,
        lambda k: normal(params.seed, number, indices, draw + 2 + k, tuple(x.shape[1:])),
        uniforms,
        first,
        stage.sampling.clip_x_start,
    )
    return bits.double().cpu()
