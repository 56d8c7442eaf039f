from __future__ import annotations

import torch

from cdm_kedro.model.layers import sinusoidal_embedding
from tiny_unet import tiny_unet


def test_sinusoids() -> None:
    got = sinusoidal_embedding(torch.tensor([3.0]), 6)[0].double()
    f = torch.tensor([1.0, 10000 ** (-1 / 3), 10000 ** (-2 / 3)], dtype=torch.float64) * 3
    torch.testing.assert_close(got, torch.cat((f.cos(), f.sin())), atol=1e-6, rtol=1e-5)


def test_noise_levels_are_embedded_as_wavegrad_does_and_timesteps_as_ddpm() -> None:
    """WaveGrad and SR3: sinusoids of 5000 sqrt(alphas_cumprod) at frequencies 10^(-4 i / (dim / 2))."""
    for conditioning, scale, value in (
        ("continuous", 5000.0, 0.7312),
        ("timestep", 1.0, 3999.0),
        ("timestep", 0.25, 3999.0),
    ):
        given = {"timestep_scale": scale} if conditioning == "timestep" else {}
        embedding = tiny_unet(noise_conditioning=conditioning, **given).noise_emb.double()
        frequency = scale * 10 ** (-4 * torch.arange(4, dtype=torch.float64) / 4)
        angle = torch.tensor([value], dtype=torch.float32).double()[:, None] * frequency
        h = torch.cat((angle.cos(), angle.sin()), 1)
        h = h @ embedding.fc1.weight.T + embedding.fc1.bias
        expected = (h * torch.sigmoid(h)) @ embedding.fc2.weight.T + embedding.fc2.bias
        embedding.float()
        torch.testing.assert_close(embedding(torch.tensor([value])).double(), expected, atol=2e-4, rtol=1e-3)
