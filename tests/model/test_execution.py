"""Precision, memory layout and compilation, as far as a machine without a GPU shows them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cdm_kedro.model.execution import compiled, memory_layout, usable_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def test_a_compiler_that_fails_costs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda function, **_: broken)
    calls: list[int] = []
    function = compiled(lambda x: calls.append(x) or 2 * x, "it")
    assert [function(1), function(2)] == [2, 4] and calls == [1, 2]
    assert caplog.text.count("torch.compile of it failed, going on without it: no compiler here") == 1
    with pytest.raises(ZeroDivisionError):
        compiled(lambda: 1 / 0, "it")()  # an error of the function itself is not swallowed


def test_the_next_way_follows_one_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """CUDA graphs that cannot be recorded leave the compiled network, and that leaves the plain one."""
    used: list[str] = []

    def compile_in(function: Any, mode: str = "default") -> Any:
        def call(x: int) -> int:
            used.append(mode)
            if mode == "reduce-overhead" or x == 2:
                raise RuntimeError("cannot")
            return function(x)

        return call

    monkeypatch.setattr(torch, "compile", compile_in)
    ways = ({"mode": "reduce-overhead"}, {})
    function = compiled(lambda x: 2 * x, "it", ways, lambda: used.append("plain"))
    assert [function(x) for x in (1, 1, 2, 3)] == [2, 2, 4, 6]
    assert used == ["reduce-overhead", "default", "default", "default", "plain"]
    assert "torch.compile of it, mode reduce-overhead failed, going on without it: cannot" in caplog.text


def test_bfloat16_gives_way_to_float32_where_it_is_emulated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or False
    )
    assert usable_precision("bf16", GPU) == "fp32" and "Tesla T4 has no bfloat16" in caplog.text
    assert [usable_precision(p, d) for p, d in (("fp32", GPU), ("bf16", CPU), ("fp32", CPU))] == [
        "fp32",
        "bf16",
        "fp32",
    ]
    assert asked == [False]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert usable_precision("bf16", GPU) == "bf16"


def test_only_a_gpu_without_compilation_is_laid_out_contiguously() -> None:
    layouts = {(d.type, c): memory_layout(d, c) for d in (CPU, GPU) for c in (False, True)}
    assert [key for key, layout in layouts.items() if layout == torch.contiguous_format] == [("cuda", False)]
