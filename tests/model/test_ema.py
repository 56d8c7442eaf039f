from __future__ import annotations

import torch

from cdm_kedro.model.ema import EMA


def test_ema_against_a_float64_recurrence() -> None:
    net = torch.nn.Linear(3, 2)
    ema = EMA(net, 0.9)
    expected = {k: v.detach().double().clone() for k, v in net.named_parameters()}
    for n in range(30):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn(p.shape))
        ema.update()
        decay = min(0.9, (1 + n) / (10 + n))
        for k, v in net.named_parameters():
            expected[k] = decay * expected[k] + (1 - decay) * v.detach().double()
    for k, v in ema.state_dict().items():
        torch.testing.assert_close(v.double(), expected[k], atol=1e-5, rtol=1e-5)
