"""The cascade over tiny untrained networks: reproducibility, batches, what the networks see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cdm_kedro.errors import CdmError
from cdm_kedro.params.sampling import SampleParams
from cdm_kedro.sampling.cascade import Cascade
from tiny_cascade import BASE, CLASSES, SR, run, sampling, write_model


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
    with pytest.raises(CdmError, match="trained on top of base"):
        Cascade.from_files(tmp_path)


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

    def watch(function: Any, **_: Any) -> Any:
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


def test_what_a_cuda_graph_returns_is_copied_before_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph writes over its last output; guidance has two outputs at once."""

    def record(function: Any, **_: Any) -> Any:
        memory: list[torch.Tensor] = []

        def replay(*inputs: Any) -> torch.Tensor:
            out = function(*inputs)
            memory[:] = memory or [torch.empty_like(out)]
            return memory[0].copy_(out)

        return replay

    raw = {**BASE, "training": {**BASE["training"], "class_dropout": 0.1}}
    path, samples = write_model(tmp_path / "base.safetensors", raw), []
    for compile in (False, True):
        stages = {"base": {"steps": 4, "guidance_scale": 2.0}}
        settings = {"num_samples": 4, "batch_size": 4, "precision": "fp32", "compile": compile, "stages": stages}
        cascade = Cascade.from_files({"base": path}, SampleParams(**settings), torch.device("cpu"))
        samples.append(cascade.sample([0, 1, 2, 0])[8])
        monkeypatch.setattr(torch, "compile", record)
    assert torch.equal(*samples)


def test_class_conditioning_can_be_ablated(tmp_path: Path) -> None:
    """Table 4b: a super-resolution model that sees no class gives two classes the same image from the same input."""
    blind_base = {**BASE, "unet": {**BASE["unet"], "class_cond": False}}
    write_model(tmp_path / "base.safetensors", blind_base)
    for class_cond in (False, True):
        write_model(tmp_path / "sr.safetensors", {**SR, "unet": {**SR["unet"], "class_cond": class_cond}})
        cascade = Cascade.from_files(tmp_path, device=torch.device("cpu"))
        images = cascade.run(torch.tensor([0, 1]), torch.tensor([4, 4]), 0).images
        assert torch.equal(images["base"][0], images["base"][1])
        assert torch.equal(images["sr"][0], images["sr"][1]) is not class_cond
