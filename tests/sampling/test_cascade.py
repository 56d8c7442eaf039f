"""The cascade over tiny untrained networks: reproducibility, conditioning, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_cascade import BASE, CLASSES, SR, sampling, write_model
from torch.utils._python_dispatch import TorchDispatchMode

from cdm_kedro.data.beton import read_beton
from cdm_kedro.model.load import load_net
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.sampling.batch import largest_batch
from cdm_kedro.sampling.cascade import Cascade
from cdm_kedro.sampling.checks import CascadeError
from cdm_kedro.sampling.compiling import compiled
from cdm_kedro.sampling.grids import draw_grid
from cdm_kedro.sampling.job import balanced_labels
from cdm_kedro.sampling.model import LoadedModel


def run(models: dict[str, Path], params: SampleParams, n: int = 8, first: int = 0) -> dict[int, np.ndarray]:
    cascade = Cascade.from_files(models, params, torch.device("cpu"))
    labels = torch.from_numpy(balanced_labels(first + n, CLASSES)[first:])
    return {r: x.numpy() for r, x in cascade.sample(labels, torch.arange(first, first + n), params.seed).items()}


def test_same_partition_is_bit_identical_and_seeds_differ(models: dict[str, Path]) -> None:
    a, b, c = run(models, sampling()), run(models, sampling()), run(models, sampling(seed=1))
    assert set(a) == {8, 16, 32} and all(np.array_equal(a[r], b[r]) for r in a)
    assert not np.array_equal(a[32], c[32])


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
def test_other_partitions_differ_by_the_networks_rounding_alone(models: dict[str, Path], precision: str) -> None:
    """Not at all where the network rounds in float64; else within the bound that docs/sampling.md states."""
    params = sampling(precision="bf16" if precision == "bf16" else "fp32")
    cascade = Cascade.from_files(models, params, torch.device("cpu"))
    if precision == "fp64":
        for module in (m for stage in cascade.models for m in stage.net.double().modules()):
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm)):
                module.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
    outcomes = {}
    for batch_size in (1, 7, 64):
        cascade.batch_size = batch_size
        parts = [torch.arange(66)[i : i + batch_size] for i in range(0, 66, batch_size)]
        made = [cascade.sample(i % CLASSES, i) for i in parts]
        outcomes[batch_size] = {r: torch.cat([m[r] for m in made]).int() for r in (8, 16, 32)}
    for batch_size in (1, 7):
        for r, whole in outcomes[64].items():
            difference = (outcomes[batch_size][r] - whole).abs()
            if precision == "fp64":
                assert int(difference.max()) == 0
            assert int(difference.max()) <= 4 and float((difference > 0).float().mean()) < 1e-3


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


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"sr": {"s": 41}}, "trained for s: 0 to 40"),
        ({"top": {"s": 5}}, "trained with augmentation blur"),
        ({"base": {"schedule": "linear"}}, "knows only"),
        ({"base": {"steps": 41}}, "choose 1 to 40"),
        ({"base": {"s": 3}}, "has none"),
        ({"sr": {"guidance_scale": 2.0}}, "class_dropout"),
        ({"base": {"guidance_scale": 2.0}}, "class_dropout"),
        ({"sr": {"s": "best"}}, "best values of search_truncation"),
        ({"base": {"conditioning": "train"}}, "has none"),
        ({"base": {"resample_from": 41}}, "trained on 40 steps"),
        ({"sr": {"conditioning": "val", "truncated": False}}, "needs the images val_8"),
    ],
)
def test_impossible_sampling_is_refused_with_its_key(
    models: dict[str, Path], stages: dict[str, Any], message: str
) -> None:
    with pytest.raises(CascadeError, match=message) as error:
        run(models, sampling(stages=stages))
    assert f"sample.stages.{next(iter(stages))}" in str(error.value)


def test_models_that_do_not_belong_together_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = {**models, "sr": write_model(tmp_path / "sr.safetensors", SR, data="2" * 64)}
    with pytest.raises(CascadeError, match=r"sr\.safetensors was trained on other images.*222222222222, not 1111"):
        Cascade.from_files(other, sampling(), torch.device("cpu"))
    fixed = {**SR, "augmentation": {**SR["augmentation"], "s": 7}}
    models_fixed = {**models, "sr": write_model(tmp_path / "sr.safetensors", fixed)}
    for s in (0, 8):
        with pytest.raises(CascadeError, match=rf"sample.stages.sr.s is {s}; sr was trained for s: 7"):
            Cascade.from_files(models_fixed, sampling(stages={"sr": {"s": s}}), torch.device("cpu"))
    bigger = {**models, "base": write_model(tmp_path / "base.safetensors", {**BASE, "resolution": 4})}
    with pytest.raises(CascadeError, match="sr was trained on 8-pixel inputs, but base makes 4 pixels"):
        Cascade.from_files(bigger, sampling(), torch.device("cpu"))


def test_a_folder_of_models_samples_without_settings(models: dict[str, Path], tmp_path: Path) -> None:
    cascade = Cascade.from_files(models["base"].parent, device=torch.device("cpu"))
    assert [s.name for s in cascade.models] == ["base", "sr", "top"]
    assert [s.s for s in cascade.models] == [0, 5, 0] and {len(s.schedule) for s in cascade.models} == {40}
    out = cascade.sample([3, 0], seed=5)
    assert {r: tuple(x.shape) for r, x in out.items()} == {r: (2, 3, r, r) for r in (8, 16, 32)}
    assert all(x.dtype == torch.uint8 for x in out.values())
    again = cascade.sample(torch.tensor([3, 0, 1]), seed=5)
    assert torch.equal(again[8][:2], out[8])  # sample i is sample i
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 3"):
        cascade.sample([4])
    write_model(tmp_path / "sr.safetensors", SR)
    with pytest.raises(CascadeError, match="trained on top of base"):
        Cascade.from_files(tmp_path)


def test_weights_in_inference_precision_change_no_bit(models: dict[str, Path]) -> None:
    """Autocast rounds float32 weights to bfloat16 at every step; weights stored so give the same."""
    cascade = Cascade.from_files(models, sampling(precision="bf16"), torch.device("cpu"))
    assert cascade.models[0].net.conv_in.weight.dtype == torch.bfloat16
    once = cascade.sample([0, 1, 2])
    for stage in cascade.models:
        stage.forward = load_net(models[stage.name], stage.params, CLASSES, torch.device("cpu"), "fp32")
    assert all(torch.equal(x, once[r]) for r, x in cascade.sample([0, 1, 2]).items())


def test_ground_truth_conditions_in_a_balanced_order(models: dict[str, Path], real: dict[str, Path]) -> None:
    params = sampling(stages={"sr": {"s": 0, "truncated": False, "conditioning": "train"}})
    cascade = Cascade.from_files(models, params, torch.device("cpu"), real=real)
    low = cascade.run(torch.arange(16) % CLASSES, torch.arange(16), 0).low["sr"]
    images, labels = read_beton(real["train_8"])
    for i in range(16):
        of_class = images[labels == i % CLASSES]
        assert np.array_equal(low[i].permute(1, 2, 0).numpy(), of_class[i // CLASSES % 3])
    assert len({x.numpy().tobytes() for x in low[:12]}) == 12  # every image once before any comes again
    part = cascade.run(torch.tensor([2]), torch.tensor([6]), 0)
    assert torch.equal(part.low["sr"][0], low[6])


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


def test_no_step_waits_for_the_device(models: dict[str, Path]) -> None:
    """Reading a value on the host, or a copy to it, would stall a GPU: none happens between two network calls."""

    class Recorder(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.ops: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.ops.append(str(func))
            return func(*args, **(kwargs or {}))

    cascade = Cascade.from_files(models, sampling(), torch.device("cpu"))
    with Recorder() as recorder:
        cascade.run(torch.arange(2), torch.arange(2), 0, lambda name, n: recorder.ops.append("network"))
    calls = [i for i, op in enumerate(recorder.ops) if op == "network"]
    assert len(calls) == 11
    waiting = ("_local_scalar_dense", "nonzero", "equal.default", "masked_select")
    for stage in (slice(0, 4), slice(4, 8), slice(8, 11)):
        inside = recorder.ops[calls[stage][0] : calls[stage][-1]]
        assert len(inside) > 100
        waits = [op for op in inside if any(w in op for w in waiting)]
        assert waits == []


def test_compiled_networks_meet_one_batch_size(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A last, smaller batch would cost a compilation of minutes; it is filled up, and its images are the same."""
    met: list[int] = []

    def watch(function: Any) -> Any:
        return lambda x, *rest: (met.append(len(x)), function(x, *rest))[1]

    plain = Cascade.from_files(models, sampling(batch_size=4), torch.device("cpu"))
    monkeypatch.setattr(torch, "compile", watch)
    compiled_one = Cascade.from_files(models, sampling(batch_size=4, compile=True), torch.device("cpu"))
    for first, count, job_size, expected in ((0, 2, 0, 2), (0, 9, 0, 4), (8, 1, 9, 4), (8, 1, 3, 3)):
        labels, indices = torch.arange(first, first + count) % CLASSES, torch.arange(first, first + count)
        met.clear()
        compiled_one.job_size = job_size
        a, b = (c.run(labels, indices, 0) for c in (compiled_one, plain))
        assert set(met) == {expected, 1}  # at 8 pixels; at 16 and 32 they go one by one
        for name, images in a.images.items():
            assert images.shape == b.images[name].shape and a.states["base", 10].shape == b.states["base", 10].shape
            assert int((images.int() - b.images[name].int()).abs().max()) <= 4


def test_batch_size_is_the_largest_that_fits() -> None:
    def measure(batch: int) -> int:
        tried.append(batch)
        if batch > 100:
            raise torch.OutOfMemoryError("too much")
        return 10 + 3 * batch

    for free, most, expected in ((1000, 1024, 64), (100, 1024, 16), (10, 1024, 1), (10**9, 32, 32), (10**9, 1024, 64)):
        tried: list[int] = []
        assert largest_batch(measure, free, most) == expected
        assert max(tried, default=1) <= 2 * expected


def test_a_compiler_that_fails_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda function: broken)
    calls: list[int] = []
    function = compiled(lambda x: calls.append(x) or 2 * x, "it")
    assert [function(1), function(2)] == [2, 4] and calls == [1, 2]
    assert caplog.text.count("torch.compile of it failed, going on without it: no compiler here") == 1
    with pytest.raises(ZeroDivisionError):
        compiled(lambda: 1 / 0, "it")()  # an error of the function itself is not swallowed


def test_grid_has_one_row_a_class(tmp_path: Path) -> None:
    from PIL import Image

    images = np.zeros((6, 32, 32, 3), np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    for i in range(6):
        images[i] = 40 * (labels[i] + 1)
    with pytest.raises(ValueError, match="class 2, but there are 2 class names"):
        draw_grid(images, labels, ["a", "bb"], 2, tmp_path / "g.png")
    draw_grid(images, labels, ["a", "bb", "ccc"], 2, tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] == 3 * 66
    for row in range(3):
        assert (pixels[row * 66 + 32, -130:-70] == 40 * (row + 1)).any() and (
            pixels[row * 66 + 10, -60] == 40 * (row + 1)
        ).all()
