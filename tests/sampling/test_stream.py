"""Own images enlarged, and the cascade watched while it works, over tiny untrained networks."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from cdm_kedro.errors import CdmError
from cdm_kedro.sampling.cascade import Cascade
from tiny_cascade import BASE, sampling, write_model

CPU = torch.device("cpu")


def test_enlarging_samples_of_the_low_model_is_sampling_on(models: dict[str, Path]) -> None:
    """From either resolution, and at the cascade's own s: the same images as the whole, non-truncated cascade makes."""
    cascade = Cascade.from_files(models, sampling(stages={"sr": {"truncated": False}}), CPU)
    whole = cascade.sample([1, 3, 0], seed=4)
    assert {8: 0, 16: 0, 32: 0}.keys() == whole.keys()
    from_8, from_16 = (cascade.upsample(whole[side], [1, 3, 0], seed=4) for side in (8, 16))
    assert set(from_8) == {16, 32} and set(from_16) == {32}
    assert all(torch.equal(from_8[side], whole[side]) for side in (16, 32)) and torch.equal(from_16[32], whole[32])
    assert cascade.models[1].s == 10 and cascade.models[1].states_at == frozenset()  # the cascade is as it was


def test_s_class_seed_and_number_decide_what_is_invented(models: dict[str, Path]) -> None:
    cascade = Cascade.from_files(models, sampling(), CPU)  # truncated when it samples, which upsampling cannot be
    image = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8, generator=torch.manual_seed(0))
    first = cascade.upsample(image, [2])[16]
    assert torch.equal(first, cascade.upsample(image, [2], s=10)[16])
    others = [
        cascade.upsample(image, [2], s=30), cascade.upsample(image, [1]), cascade.upsample(image, [2], seed=1),
        cascade.upsample(image, [2], indices=torch.tensor([5])),
    ]  # fmt: skip
    assert not any(torch.equal(first, other[16]) for other in others)


def test_what_cannot_be_enlarged_is_refused(models: dict[str, Path]) -> None:
    cascade = Cascade.from_files(models, sampling(), CPU)
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(CdmError, match=r"h one of \[8, 16\]"):
        cascade.upsample(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [0])
    with pytest.raises(CdmError, match=r"torch.float32"):
        cascade.upsample(image.float(), [0])
    with pytest.raises(CdmError, match=r"sr.s is 41; sr was trained for s: 0 to 40"):
        cascade.upsample(image, [0], s=41)
    with pytest.raises(CdmError, match="top were trained without Gaussian noise"):
        cascade.upsample(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), [0], s=3)
    with pytest.raises(ValueError, match="1 images and 2 labels"):
        cascade.upsample(image, [0, 1])
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 3"):
        cascade.upsample(image, [4])


def test_the_stream_ends_in_what_sampling_makes(models: dict[str, Path]) -> None:
    """Every step of every model, its batches apart, with the samples last; filled-up batches do not show."""
    cascade = Cascade.from_files(models, sampling(batch_size=8), CPU)
    whole = cascade.sample([1, 3, 0], seed=4)
    met: dict[str, list[tuple[int, int]]] = {}
    sides = {model.name: model.params.resolution for model in cascade.models}
    for estimate in cascade.stream([1, 3, 0], seed=4):
        met.setdefault(estimate.model, []).append((estimate.rows.start, estimate.step))
        size = (estimate.rows.stop - estimate.rows.start, 3, sides[estimate.model], sides[estimate.model])
        assert estimate.state.shape == estimate.x_start.shape == size and estimate.x_start.dtype == torch.uint8
        assert estimate.finished == (estimate.step == estimate.steps)
        if estimate.finished:
            assert torch.equal(estimate.x_start, whole[sides[estimate.model]][estimate.rows])
    assert list(met) == ["base", "sr", "top"]
    assert met["base"] == [(0, step) for step in range(5)]
    assert met["sr"] == [(start, step) for start in (0, 2) for step in range(5)]
    assert met["top"] == [(start, step) for start in (0, 1, 2) for step in range(4)]
    enlarged = list(cascade.stream([1, 3, 0], seed=4, images=whole[16]))
    assert {estimate.model for estimate in enlarged} == {"top"}


def test_the_last_step_sees_the_sample(models: dict[str, Path]) -> None:
    """With DDIM, whose last step adds no noise, the last x_start is the sample."""
    cascade = Cascade.from_files(models, sampling(stages={"base": {"sampler": "ddim"}}), CPU, target="base")
    estimates = list(cascade.stream([1]))
    assert torch.equal(estimates[-2].x_start, estimates[-1].x_start)
    assert estimates[0].state.float().std() > 60  # it begins with noise


def test_guidance_and_resampling_count_each_step_once(tmp_path: Path) -> None:
    path = write_model(tmp_path / "base.safetensors", {**BASE, "training": {**BASE["training"], "class_dropout": 0.1}})
    params = sampling()
    settings = params.stages["base"].model_copy(update={"guidance_scale": 2.0, "resample_from": 20})
    cascade = Cascade.from_files({"base": path}, params.model_copy(update={"stages": {"base": settings}}), CPU)
    steps = [estimate.step for estimate in cascade.stream([0, 1])]
    assert steps == list(range(len(steps))) and cascade.models[0].evaluations == 2 * (len(steps) - 1)


def test_a_closed_stream_stops_the_models(models: dict[str, Path]) -> None:
    cascade = Cascade.from_files(models, sampling(), CPU)
    forward, calls = cascade.models[0].forward, []
    cascade.models[0].forward = lambda *given: calls.append(threading.current_thread()) or forward(*given)
    stream = cascade.stream([0])
    assert next(stream).step == 0
    stream.close()
    count = len(calls)
    assert 1 <= count <= 2
    time.sleep(0.1)
    assert len(calls) == count
    assert len({estimate.model for estimate in cascade.stream([0])}) == 3  # and the cascade is whole
    cascade.models[1].net = None
    cascade.models[1].forward = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(cascade.stream([0]))


def test_streams_one_after_another_share_a_thread(models: dict[str, Path]) -> None:
    """So that CUDA graphs, which belong to a thread, are recorded once; open streams have one each."""
    threads: list[threading.Thread] = []
    one, other = (Cascade.from_files(models, sampling(), CPU, target="base") for _ in range(2))
    for model in one.models + other.models:
        model.forward = lambda *given, f=model.forward: threads.append(threading.current_thread()) or f(*given)
    for _ in range(5):
        list(one.stream([0]))
        one.stream([0]).close()
        next(other.stream([0]))
    assert len(set(threads)) == 1 and threading.current_thread() not in threads
    both = list(zip(one.stream([0]), other.stream([0]), strict=True))
    assert len(set(threads)) == 2 and all(torch.equal(a.x_start, b.x_start) for a, b in both)
