from __future__ import annotations

from typing import Any

import pytest
import torch

from cdm_kedro.sampling.compiling import compiled


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
