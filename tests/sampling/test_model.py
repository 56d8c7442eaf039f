"""One model of the cascade: what conditions it, its precision, its second reverse process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from cdm_kedro.model.load import load_net
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.model import LoadedModel
from device_watch import watched
from tiny_cascade import CLASSES, run, sampling


def test_truncated_feeds_z_s_and_leaves_the_low_samples_alone(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    original = LoadedModel.condition

    def spy(self: LoadedModel, *args: Any) -> Any:
        low, level = original(self, *args)
        seen[self.name] = (low.clone(), level)
        return low, level

    monkeypatch.setattr(LoadedModel, "condition", spy)
    truncated = run(models, sampling())
    z_s, level = seen["sr"]
    assert (level == 10).all()
    plain = run(models, sampling(stages={"sr": {"truncated": False}}))
    z_again, level_again = seen["sr"]
    assert (level_again == 10).all() and not torch.equal(z_s, z_again)
    # Both are at the level of s = 10: alphas_cumprod of index 9.
    process = Cascade.from_files(models, sampling(), torch.device("cpu")).models[0].process
    a = float(process.alphas_cumprod[9])
    low = torch.from_numpy(plain[8]).float() / 127.5 - 1
    noise = (z_again - a**0.5 * low) / (1 - a) ** 0.5
    assert abs(float(noise.mean())) < 0.1 and float(noise.std()) == pytest.approx(1, abs=0.05)
    run(models, sampling(stages={"sr": {"s": 0, "truncated": False}}))
    clean, zero = seen["sr"]
    assert (zero == 0).all() and float(((clean + 1) * 127.5 - ((clean + 1) * 127.5).round()).abs().max()) < 1e-3
    assert truncated[8].shape == plain[8].shape


def test_blur_at_inference_is_a_gaussian_of_three_pixels(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    original = LoadedModel.condition

    def spy(self: LoadedModel, *args: Any) -> Any:
        low, level = original(self, *args)
        if self.name == "top":
            seen.append(low.clone())
        return low, level

    monkeypatch.setattr(LoadedModel, "condition", spy)
    made = [run(models, sampling(stages={"top": {"blur": sigma}}), n=2) for sigma in (0.0, 0.7)]
    assert (made[0][16] == made[1][16]).all() and (made[0][32] != made[1][32]).any()
    kernel = np.exp(-0.5 * (np.arange(-1, 2) / 0.7) ** 2)
    expected = seen[0].double().numpy()
    for axis in (2, 3):
        expected = correlate1d(expected, kernel / kernel.sum(), axis, mode="mirror")
    np.testing.assert_allclose(seen[1].numpy(), expected, atol=1e-6)


def test_weights_in_inference_precision_change_no_bit(models: dict[str, Path]) -> None:
    """Autocast rounds float32 weights to bfloat16 at every step; weights stored so give the same."""
    cascade = Cascade.from_files(models, sampling(precision="bf16"), torch.device("cpu"))
    assert cascade.models[0].net.conv_in.weight.dtype == torch.bfloat16
    once = cascade.sample([0, 1, 2])
    for stage in cascade.models:
        stage.forward = load_net(models[stage.name], stage.params, CLASSES, torch.device("cpu"), "fp32")
    assert all(torch.equal(x, once[r]) for r, x in cascade.sample([0, 1, 2]).items())


def test_more_sampling_steps_start_from_the_noised_sample(models: dict[str, Path]) -> None:
    """Table 2a: the same first samples, then q(x_t | x_0) and the reverse steps below t."""
    calls: list[tuple[str, int]] = []
    plain = Cascade.from_files(models, sampling(), torch.device("cpu"))
    more = Cascade.from_files(models, sampling(stages={"base": {"resample_from": 14}}), torch.device("cpu"))
    stage = more.models[0]
    assert 13 in stage.schedule.timesteps and stage.evaluations == 4 + len(stage.schedule.below(13))
    seen: list[tuple[torch.Tensor, float]] = []
    forward = stage.forward
    stage.forward = lambda x, cond, *rest: (seen.append((x.clone(), float(cond[0]))), forward(x, cond, *rest))[1]
    labels, indices = torch.arange(64) % CLASSES, torch.arange(64)
    images = more.run(labels, indices, 0, lambda name, n: calls.append((name, n))).images["base"]
    assert sum(n for name, n in calls if name == "base") == 64 * stage.evaluations == 64 * len(seen)
    again, level = seen[4]
    assert level == 13
    stage.sampling = plain.models[0].sampling  # the same schedule, without the second pass
    once = more.run(labels, indices, 0).images["base"].float() / 127.5 - 1
    a = float(stage.process.alphas_cumprod[13])
    noise = (again - a**0.5 * once) / (1 - a) ** 0.5
    assert abs(float(noise.mean())) < 5 / noise.numel() ** 0.5 + 0.01 and float(noise.std()) == pytest.approx(
        1, abs=0.05
    )
    assert not torch.equal(images.float() / 127.5 - 1, once)


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpmpp_2m"])
def test_a_reverse_step_waits_for_nothing(models: dict[str, Path], sampler: str) -> None:
    """The schedule is sent to the device once, before the first step."""
    own = {"sampler": sampler, "steps": 8}
    cascade = Cascade.from_files(models, sampling(stages=dict.fromkeys(models, own)), torch.device("cpu"))
    labels, indices = torch.arange(2), torch.arange(2)
    for model in cascade.models:
        low = level = None
        if model.params.low_resolution is not None:
            side = model.params.low_resolution
            low, level = model.condition(torch.zeros(2, 3, side, side, dtype=torch.uint8), None, indices, 0)
        given = labels, indices, 0, low, level
        steps: list[int] = []
        with watched() as watch:
            model.sample(*given, progress=lambda name, images, k=watch.kernels, s=steps: s.append(len(k)))
        assert len(steps) == model.evaluations == 8
        assert [what for kernels, what in watch.waits if kernels > steps[0]] == []
        places = {what.rpartition(":")[0] for _, what in watch.waits}
        assert places == {"tolist in samplers.py", "to a device in samplers.py"}
