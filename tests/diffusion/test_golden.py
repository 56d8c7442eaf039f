"""Samplers, losses and gradients give the numbers of golden.npz, which are of the first code that had these parts.

``python tests/diffusion/test_golden.py FILE`` writes what the code on the path gives.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cdm_kedro.diffusion.losses import hybrid_loss
from cdm_kedro.diffusion.process import DiffusionProcess
from cdm_kedro.diffusion.samplers import ReverseSchedule, ancestral, ddim, dpmpp_2m, renoise_and_resample
from cdm_kedro.diffusion.schedules import make_betas

SHAPE = (2, 3, 4, 4)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape or SHAPE, generator=torch.Generator().manual_seed(seed))


def network(channels: int):
    weight = 0.2 * drawn(5, channels, 3, 3, 3)

    def model(x: Tensor, cond: Tensor) -> Tensor:
        level = (0.01 * cond[:, None, None, None]).sin()
        return torch.tanh(torch.nn.functional.conv2d(x, weight, padding=1) + level)

    return model


def results() -> dict[str, Tensor]:
    process = DiffusionProcess(make_betas("cosine", 100))
    schedule, start = ReverseSchedule.respaced(process, 12, [30]), drawn(1)
    found = {}
    for channels in (3, 6):
        model = network(channels)
        found[f"ancestral {channels}"] = ancestral(model, start, schedule, drawn)
        found[f"ancestral large {channels}"] = ancestral(model, start, schedule, drawn, False, "large")
        found[f"again {channels}"] = renoise_and_resample(model, start, process, schedule, 30, drawn(2), drawn)
    found |= {f"ddim {eta}": ddim(network(3), start, schedule, drawn, eta=eta) for eta in (0.0, 0.5)}
    found |= {f"dpmpp {clip}": dpmpp_2m(network(3), start, schedule, clip_x_start=clip) for clip in (True, False)}
    x_0 = (drawn(3) * 40 + 128).round().clamp(0, 255) / 127.5 - 1
    for t in (0, 1, 50, 99):
        index, noise = torch.full((2,), t), drawn(4)
        x_t = process.q_sample(x_0, index, noise)
        output = network(6)(x_t, index.float()).requires_grad_()
        total, simple, term = hybrid_loss(process, output, x_0, x_t, index, noise, weight=torch.tensor([1.0, 0.5]))
        (gradient,) = torch.autograd.grad(total.sum(), output)
        found |= {f"loss {t}": torch.stack((total, simple, term)).detach(), f"gradient {t}": gradient}
    return found


def test_results_are_the_golden_ones() -> None:
    with np.load(Path(__file__).with_name("golden.npz")) as golden:
        found = results()
        assert set(golden.files) == set(found)
        for name in golden.files:
            np.testing.assert_allclose(found[name].numpy(), golden[name], rtol=1e-4, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **{name: tensor.numpy() for name, tensor in results().items()})
