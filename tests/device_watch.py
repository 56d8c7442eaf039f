"""Watches what a step asks of the device: kernels, and reads or writes that would have the host wait for a GPU."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_READS = ("_local_scalar_dense", "nonzero", "equal.default", "masked_select", "is_nonzero", "unique", "bincount")
_METHODS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__", "__array__")
_ALLOCATIONS = ("aten::empty", "aten::new_empty", "aten::detach", "aten::lift_fresh")


class Watch(TorchDispatchMode):
    """Operations that start a kernel, and what has the host wait, with the number of kernels before.

    A CPU's tensors hide some waits from the dispatcher, so methods that read them are watched too, and those that would
    copy host memory to a GPU: that copy waits for all work before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[str] = []
        self.waits: list[tuple[int, str]] = []

    def wait(self, what: str) -> None:
        """Note a wait, after so many kernels."""
        self.waits.append((len(self.kernels), what))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        aliases = [returned.alias_info for returned in func._schema.returns if returned.alias_info]
        view = bool(aliases) and not any(alias.is_write for alias in aliases)
        if any(read in str(func) for read in _READS):
            self.wait(str(func))
        elif not view and not name.startswith(_ALLOCATIONS):
            self.kernels.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def watched() -> Iterator[Watch]:
    watch, thread = Watch(), threading.current_thread()  # others, such as the loader's, may wait

    def noting(function: Any, what: str, matters: Any = lambda settings, args, file: True) -> Any:
        def call(*args: Any, **settings: Any) -> Any:
            caller = sys._getframe(1)
            if threading.current_thread() is thread and matters(settings, args, caller.f_code.co_filename):
                watch.wait(f"{what} in {Path(caller.f_code.co_filename).name}:{caller.f_lineno}")
            return function(*args, **settings)

        return call

    def copies(settings: Any, args: Any, file: str) -> bool:
        """PyTorch itself names the device that a tensor is on already."""
        named = "device" in settings or any(isinstance(value, (torch.device, str, Tensor)) for value in args[1:])
        return named and "cdm_kedro" in file

    with pytest.MonkeyPatch.context() as patch, watch:
        for name in _METHODS:
            patch.setattr(Tensor, name, noting(getattr(Tensor, name), name))
        patch.setattr(Tensor, "to", noting(Tensor.to, "to a device", copies))
        for name in ("tensor", "as_tensor", "from_numpy"):
            patch.setattr(torch, name, noting(getattr(torch, name), f"torch.{name}"))
        yield watch
