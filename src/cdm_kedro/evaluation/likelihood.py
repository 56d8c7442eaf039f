"""Bits per dimension of real images under each model and under the (truncated) cascade (equations 1 and 3)."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from cdm_kedro.data.beton import check_beton, read_beton
from cdm_kedro.diffusion.likelihood import bound_bits, truncated_cascade_bits
from cdm_kedro.diffusion.pixels import to_range
from cdm_kedro.params.likelihood import LikelihoodParams
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.model import LoadedModel
from cdm_kedro.sampling.philox import normal


def cascade_bits(cascade: Cascade, images: Mapping[int, Path], params: LikelihoodParams) -> dict[str, Any]:
    """Bound the bits per dimension of real images.

    A model's own bound is of p(x_0 | z_s), where z_s ~ q(z_s | z_0) of the stored low-resolution image at the s that
    sampling uses. The cascade's adds what z_0 costs: the whole bound of the low model where sampling finishes it, its
    part from s up where sampling truncates it. Models of continuous noise levels are bounded at the levels of their
    training schedule. Returns for each model ``bits_per_dim`` and ``cascade_bits_per_dim``, each with its standard
    error over images (``_se``), ``n``, ``terms`` (drawn an image, besides the decoder's), ``s`` and ``truncated``.
    Raises ValueError if an unknown model is asked for, or the files are not of the same images. ``cascade``: loaded
    models; each one's ``s``, ``truncated`` and ``clip_x_start`` of sampling are used, and its precision. ``images``:
    resolution to FFCV file; the files hold the same images in the same order.
    """
    models = {model.name: model for model in _chosen(cascade, params)}
    available = min(check_beton(images[model.params.resolution]).num_samples for model in models.values())
    count = min(available, params.images or available)
    batches = [range(start, min(start + params.batch_size, count)) for start in range(0, count, params.batch_size)]
    terms: dict[tuple[str, int], int] = {}  # of a model's bound from an index up, besides the decoder's term
    for model in models.values():
        above = [other.s for other in models.values() if other.params.low == model.name and other.truncated]
        for first in sorted({0, *above}):
            every = model.process.num_timesteps - max(first, 1)
            terms[model.name, first] = min(params.timesteps or every, every)
    own: dict[tuple[str, int], Tensor] = {}
    evaluations = sum(number + (first == 0) for (_, first), number in terms.items())
    with tqdm(total=count * evaluations, desc="likelihood", unit="term") as bar:
        for (name, first), number in terms.items():
            bar.set_postfix_str(name, refresh=False)
            draw = sum(other == name for other, _ in own) << 24  # the model's bounds share no noise
            bits = partial(_batch_bits, models[name], images, params.seed, first, number, draw, bar.update)
            own[name, first] = torch.cat([bits(rows) for rows in batches])

    def total(model: LoadedModel, first: int) -> Tensor:
        if model.params.low is None:
            return own[model.name, first]
        low = models[model.params.low]
        dims = (3 * m.params.resolution**2 for m in (low, model))
        return truncated_cascade_bits(total(low, model.s if model.truncated else 0), own[model.name, first], *dims)

    return {
        name: {
            **_mean("bits_per_dim", own[name, 0]),
            **_mean("cascade_bits_per_dim", total(model, 0)),
            "n": count,
            "terms": terms[name, 0],
            "s": model.s,
            "truncated": model.sampling.truncated,
        }
        for name, model in models.items()
    }


def _chosen(cascade: Cascade, params: LikelihoodParams) -> list[LoadedModel]:
    """The models that are asked for, and all below them."""
    names = [model.name for model in cascade.models]
    wanted = set(names if params.stages is None else params.stages)
    if not wanted or wanted - set(names):
        raise ValueError(f"likelihood.stages is {params.stages}; the cascade has {names}")
    for model in reversed(cascade.models):
        if model.name in wanted and model.params.low is not None:
            wanted.add(model.params.low)
    return [model for model in cascade.models if model.name in wanted]


def _mean(name: str, values: Tensor) -> dict[str, float]:
    mean = {name: float(values.mean())}
    return mean | ({f"{name}_se": float(values.std()) / math.sqrt(len(values))} if len(values) > 1 else {})


@torch.no_grad()
def _batch_bits(
    model: LoadedModel,
    images: Mapping[int, Path],
    seed: int,
    first: int,
    terms: int,
    draw: int,
    progress: Callable[[int], Any],
    rows: range,
) -> Tensor:
    """Bits per dimension of some images under one model, from index ``first`` up: (B,) float64 on the CPU."""
    indices = torch.arange(rows.start, rows.stop, device=model.device)
    noise = partial(normal, seed, model.number, indices)

    def read(resolution: int) -> tuple[Tensor, Tensor]:
        pixels, labels = read_beton(images[resolution], rows)
        return to_range(torch.from_numpy(pixels).to(model.device).permute(0, 3, 1, 2)), torch.from_numpy(labels)

    x, labels = read(model.params.resolution)
    low = level = None
    if model.params.low_resolution is not None:
        low, same = read(model.params.low_resolution)
        if not torch.equal(labels, same):
            files = [images[side] for side in (model.params.low_resolution, model.params.resolution)]
            raise ValueError(f"{files[0]} and {files[1]} do not hold the same images in order")
        low, level = model.augmentation.sample(low, model.s, noise(0, low.shape[1:]))
    y = labels.to(model.device) if model.params.unet.class_cond else None
    continuous = model.params.diffusion.noise_conditioning == "continuous"
    levels = model.process.alphas_cumprod.sqrt().float().to(model.device)

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        progress(len(x_t))
        return model.evaluate(x_t, levels[t] if continuous else t.float(), y, low, level)

    uniforms = torch.special.ndtr(noise(draw + 1, (terms,)).double()).T
    clip = model.sampling.clip_x_start
    bits = bound_bits(network, model.process, x, lambda k: noise(draw + 2 + k, x.shape[1:]), uniforms, first, clip)
    return bits.double().cpu()
