from __future__ import annotations

from typing import Any

import pytest
import torch

from cdm_kedro.model.build import build_unet
from cdm_kedro.model.unet import PreconditionedUNet
from cdm_kedro.params.model import TrainedModelParams


def stage(continuous: bool, **changes: Any) -> TrainedModelParams:
    conditioning = "continuous" if continuous else "timestep"
    return TrainedModelParams.model_validate(
        {
            "resolution": 16,
            "low": "base",
            "low_resolution": 8,
            "unet": {"channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "detail_std": 0.2},
            "diffusion": {"timesteps": 100, "schedule": "cosine", "noise_conditioning": conditioning},
            "training": {"steps": 1, "batch_size": 1},
            **changes,
        }
    )


@pytest.mark.parametrize("continuous", [True, False])
def test_untrained_network_is_the_bayes_estimate_of_gaussian_detail(continuous: bool) -> None:
    """With x_start ~ N(low, 0.2^2): E[eps | x_t] is the regression of eps on x_t, here fitted by least squares."""
    torch.manual_seed(0)
    net = build_unet(stage(continuous), 3)
    assert isinstance(net, PreconditionedUNet)
    for t in (3, 50, 90):
        level = torch.cos(torch.tensor((t + 1) / 100 + 0.008, dtype=torch.float64) / 1.008 * torch.pi / 2)
        level = level / torch.cos(torch.tensor(0.008 / 1.008, dtype=torch.float64) * torch.pi / 2)
        low = torch.rand(64, 3, 8, 8) * 2 - 1
        up = torch.nn.functional.interpolate(low, (16, 16), mode="bilinear")
        eps = torch.randn(64, 3, 16, 16)
        x_t = level.float() * (up + 0.2 * torch.randn_like(eps)) + (1 - level**2).sqrt().float() * eps
        cond = level.float() if continuous else torch.tensor(float(t))
        got = net(x_t, cond.expand(64), torch.zeros(64, dtype=torch.int64), low)
        centred = (x_t - level.float() * up).double().flatten()
        slope = (centred @ eps.double().flatten()) / (centred @ centred)
        torch.testing.assert_close(got.double().flatten(), slope * centred, rtol=0.02, atol=0.02)
        # The weight makes the best linear estimate's error 1 at every level.
        error = ((got - eps) ** 2).mean() * net.loss_weight(cond[None], None)[0]
        assert error.item() == pytest.approx(1.0, rel=0.03)


def test_untrained_base_model_is_the_bayes_estimate_of_gaussian_images() -> None:
    """With x_start ~ N(0, 0.5^2) pixels and variances that add, E[eps | x_t] = x_t sigma / (0.25 a^2 + sigma^2)."""
    torch.manual_seed(0)
    unet = {"channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "detail_std": 0.5}
    net = build_unet(stage(True, low=None, low_resolution=None, unet=unet), 3)
    assert isinstance(net, PreconditionedUNet)
    x_t = torch.randn(8, 3, 16, 16)
    for a in (0.999, 0.6, 0.01):
        level = torch.full((8,), a)
        got = net(x_t, level, torch.zeros(8, dtype=torch.int64))
        sigma = (1 - a * a) ** 0.5
        torch.testing.assert_close(got, x_t * sigma / (0.25 * a * a + sigma * sigma), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="a base model has none"):
        net(x_t, level, torch.zeros(8, dtype=torch.int64), torch.zeros(8, 3, 8, 8))


def test_augmented_input_is_trusted_less() -> None:
    """The prior's gain and width follow from z_s by the normal-normal model with pixel variance 1/4."""
    net = build_unet(stage(True, augmentation={"kind": "gaussian", "timesteps": 100}), 3)
    assert isinstance(net, PreconditionedUNet) and net.aug_levels is not None and net.aug_levels[0] == 1
    clean, noisy = torch.tensor([0.0]), torch.tensor([60.0])
    cond = torch.tensor([0.8])
    a, gain, _, detail, _ = net._scales(cond, noisy)
    kept = float(net.aug_levels[60]) ** 2
    rng = torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(200_000, generator=rng, dtype=torch.float64)
    z = kept**0.5 * x + (1 - kept) ** 0.5 * torch.randn(200_000, generator=rng, dtype=torch.float64)
    slope = (x @ z) / (z @ z)
    left = (x - slope * z).square().mean() + 0.2**2
    assert gain.item() == pytest.approx(slope.item(), rel=0.02)
    assert (detail / a).square().item() == pytest.approx(left.item(), rel=0.02)
    _, gain, _, detail, _ = net._scales(cond, clean)
    assert gain.item() == 1 and (detail / a).item() == pytest.approx(0.2)
