from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def peer_script() -> Callable[[str], ModuleType]:
    """A comparison script by name; it holds the recipe of the weights and images behind a stored vector."""

    def load(name: str) -> ModuleType:
        path = Path(__file__).parents[2] / "benchmarks" / "peers" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
